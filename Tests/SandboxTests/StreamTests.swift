// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import OutboundHTTP
import Testing

@testable import Sandbox

@Suite struct StreamTests {
    @Test func aVideoMovesOnOnlyWithItsClock() async throws {
        let clock = StandingClock()
        try await TestSandbox.run(clock: clock) {
            $0.speed = 2
        } _: { sandbox in
            let uid = try await sandbox.copy()
            // The worker sleeps until the end when the file is here.
            _ = try await until {
                clock.sleeperCount
            } holds: {
                $0 == 1
            }
            #expect(try await sandbox.api(.get, "/\(uid)").state == "downloading")
            clock.advance(by: .milliseconds(500))
            #expect(try await sandbox.api(.get, "/\(uid)").state == "queued")
            clock.advance(by: .seconds(1 + 5))
            let half = try await sandbox.api(.get, "/\(uid)")
            #expect(half.state == "inprogress")
            #expect(half["status"]?.objectValue?["pctComplete"] == "50.000000")
            #expect(try await sandbox.api(.post, "/\(uid)/downloads").status == 409)
            clock.advance(by: .seconds(5))
            #expect(try await sandbox.api(.get, "/\(uid)").state == "ready")
            _ = try await sandbox.api(.post, "/\(uid)/downloads/default")
            clock.advance(by: .seconds(2))
            let download = try await sandbox.api(.get, "/\(uid)/downloads")
            #expect(download["default"]?.objectValue?["percentComplete"] == 40)
            // Asking again changes nothing.
            #expect(try await sandbox.api(.post, "/\(uid)/downloads").result == download.result)
        }
    }

    @Test func theSameSeedGivesTheSameNames() async throws {
        let first = SandboxSettings(identity: SandboxIdentity(seed: 5), port: 1, bucket: "b")
        #expect(first == SandboxSettings(identity: SandboxIdentity(seed: 5), port: 1, bucket: "b"))
        let other = SandboxSettings(identity: SandboxIdentity(seed: 6), port: 1, bucket: "b")
        #expect(first.apiToken != other.apiToken)
        try await TestSandbox.run {
            $0.seed = 5
        } _: { sandbox in
            let uid = try await sandbox.copy()
            #expect(uid == SandboxIdentity(seed: 5).videoUID(1))
            #expect(ClipUID(uid) != nil)
            #expect(sandbox.settings.accountID == first.accountID)
        }
    }

    @Test func theLimitBlocksForAWholeWindow() async throws {
        let clock = StandingClock()
        try await TestSandbox.run(clock: clock) { configuration in
            configuration.rateLimit = RateLimit(requests: 3, window: .seconds(300))
        } _: { sandbox in
            clock.advance(by: .seconds(1))
            let first = try await sandbox.api(.get)
            #expect(first.headers[.rateLimit] == "\"default\";r=2;t=300")
            #expect(first.headers[.rateLimitPolicy] == "\"default\";q=3;w=300")
            #expect(first.headers[.retryAfter] == nil)
            clock.advance(by: .milliseconds(100_500))
            #expect(try await sandbox.api(.get, "/nobody").headers[.rateLimit] == "\"default\";r=1;t=200")
            #expect(try await sandbox.api(.get).status == 200)
            let refused = try await sandbox.api(.get)
            #expect(refused.status == 429)
            #expect(refused.headers[.retryAfter] == "300")
            #expect(refused.errorCode == 10429)
            clock.advance(by: .seconds(299))
            #expect(try await sandbox.api(.get).headers[.retryAfter] == "1")
            clock.advance(by: .seconds(1))
            #expect(try await sandbox.api(.get).status == 200)
            // Without a good token nothing is counted.
            #expect(try await sandbox.api(.get, token: "wrong").headers[.rateLimit] == nil)
        }
    }

    @Test func downloadsAreCounted() async throws {
        try await TestSandbox.run { sandbox in
            let uid = try await sandbox.copy("sample:10000")
            try await sandbox.video(uid, reaches: "ready")
            let url = try await sandbox.mp4(uid)
            #expect(try await sandbox.get(url, .head).status == 200)
            #expect(sandbox.sandbox.downloads(of: uid) == DownloadCount())
            #expect(try await sandbox.get(url).body.count == 10_000)
            #expect(try await sandbox.get(url, headers: [.range: "bytes=9000-"]).status == 206)
            let count = DownloadCount(fullRequests: 1, rangeRequests: 1, bytes: 11_000)
            #expect(sandbox.sandbox.downloads(of: uid) == count)
            let stats = try await sandbox.get("\(sandbox.settings.origin)/media/\(uid)/stats")
            #expect(stats.text == #"{"bytes":11000,"full_requests":1,"range_requests":1,"uid":"\#(uid)"}"#)
        }
    }

    @Test func aSourceIsFetchedOrItsVideoFails() async throws {
        try await TestSandbox.run { sandbox in
            let body = Array("a video of sorts".utf8)
            #expect(try await sandbox.s3(.put, "/s.mp4", body).status == 200)
            let uid = try await sandbox.copy("\(sandbox.settings.publicURL)/s.mp4")
            let video = try await sandbox.video(uid, reaches: "ready")
            #expect(video["size"] == 16)
            #expect(try await sandbox.get(try await sandbox.mp4(uid)).body == body)
            let lost = try await sandbox.copy("\(sandbox.settings.publicURL)/other.mp4")
            let failed = try await sandbox.video(lost, reaches: "error")
            #expect(failed["status"]?.objectValue?["errorReasonCode"] == "ERR_FETCH_ORIGIN_ERROR")
        }
    }

    @Test func aUIDIsNotUsedAgainInTheSameFolder() async throws {
        let folder = try TemporaryFolder()
        let uids = Uids()
        for _ in 0..<2 {
            try await TestSandbox.run(folder: folder.path) { sandbox in
                let uid = try await sandbox.copy()
                try await sandbox.video(uid, reaches: "ready")
                await uids.add(uid)
            }
        }
        #expect(await uids.all.count == 2)
    }

    private actor Uids {
        var all: Set<String> = []
        func add(_ uid: String) { all.insert(uid) }
    }
}
