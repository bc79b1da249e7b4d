// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CurlTransport
import HTTPTypes
import OutboundHTTP
import Testing

@testable import Sandbox

/// The faults as a client meets them, on real sockets.
@Suite struct FaultTests {
    private static let size = 4 << 20

    /// Runs `body` with the URL of an MP4 of four mebibytes.
    private func withMP4(
        _ faults: String..., body: @escaping @Sendable (TestSandbox, String) async throws -> Void
    ) async throws {
        let specs = try faults.map { try FaultSpec(parsing: $0) }
        try await TestSandbox.run {
            $0.faults = specs
        } _: { sandbox in
            let uid = try await sandbox.copy("sample:\(Self.size)")
            try await sandbox.video(uid, reaches: "ready")
            try await body(sandbox, try await sandbox.mp4(uid))
        }
    }

    private func failure(_ work: () async throws -> OutboundResponse) async throws -> TransferError {
        do {
            let response = try await work()
            Issue.record("answered \(response.status) with \(response.body.count) bytes")
            return TransferError(code: .other, message: "")
        } catch let error as TransferError {
            return error
        }
    }

    @Test func aResetBreaksTheBodyOnce() async throws {
        try await withMP4("route=mp4,kind=reset,after=1MiB,count=1") { sandbox, url in
            let error = try await failure { try await sandbox.get(url) }
            #expect(error.code == .reset, "\(error)")
            #expect(error.bytesReceived <= 1 << 20)
            #expect(try await sandbox.get(url).body.count == Self.size)
        }
    }

    @Test func aTruncatedBodyEndsExactlyThere() async throws {
        try await withMP4("route=mp4,kind=truncate,after=1MiB,count=1") { sandbox, url in
            let error = try await failure { try await sandbox.get(url) }
            #expect(error.code == .bodyTruncated, "\(error)")
            #expect(error.bytesReceived == 1 << 20)
            #expect(try await sandbox.get(url).body.count == Self.size)
        }
    }

    @Test func aCutBehindTheEndStillCuts() async throws {
        try await withMP4("route=mp4,kind=truncate,after=1GiB,count=1") { sandbox, url in
            let error = try await failure { try await sandbox.get(url) }
            #expect(error.bytesReceived == UInt64(Self.size) - 1)
        }
    }

    @Test func aStallIsSilence() async throws {
        try await withMP4("route=mp4,kind=stall,after=64KiB,count=1") { sandbox, url in
            var request = OutboundRequest(url: url, sink: .memory(bytesMax: 8 << 20))
            request.limits.total = .seconds(1)
            let slow = request
            let error = try await failure { try await sandbox.transport.send(slow) }
            #expect(error.code == .timeout, "\(error)")
            #expect(error.bytesReceived <= 64 << 10)
        }
    }

    @Test func aStatusComesInTheAreasOwnForm() async throws {
        try await withMP4(
            "route=get,status=503,skip=1,count=1", "route=token,kind=429,retry-after=7", "route=head,status=500",
            "route=put,kind=429,count=1"
        ) { sandbox, _ in
            let refused = try await sandbox.api(.post, "/x/token")
            #expect(refused.status == 429)
            #expect(refused.headers[.retryAfter] == "7")
            #expect(refused.errorCode == 10429)
            #expect(try await sandbox.s3(.head, "/a").status == 500)
            let put = try await sandbox.s3(.put, "/a", [1])
            #expect(put.status == 429)
            #expect(put.s3Code == "TooManyRequests")
            #expect(put.head.headers[.retryAfter] == "1")
            #expect(try await sandbox.s3(.put, "/a", [1]).status == 200)
        }
    }

    @Test func anUploadIsCutInItsOwnBody() async throws {
        try await TestSandbox.run { configuration in
            configuration.faults = [FaultSpec(route: .put, kind: .reset(after: 1 << 20), count: 1)]
        } _: { sandbox in
            let body = [UInt8](repeating: 1, count: 8 << 20)
            let error = try await failure { try await sandbox.s3(.put, "/a", body) }
            #expect(error.code == .reset, "\(error)")
            #expect(try await sandbox.s3(.head, "/a").status == 404)
            #expect(try await sandbox.s3(.put, "/a", body).status == 200)
        }
    }

    @Test func aDroppedAnswerLeavesTheWorkDone() async throws {
        try await TestSandbox.run { configuration in
            configuration.faults = [FaultSpec(route: .put, kind: .drop, count: 1)]
        } _: { sandbox in
            let error = try await failure { try await sandbox.s3(.put, "/a", [1, 2]) }
            #expect(error.code == .reset, "\(error)")
            #expect(try await sandbox.s3(.get, "/a").body == [1, 2])
        }
    }

    @Test func latencyIsCountedOnTheSandboxClock() async throws {
        let clock = StandingClock()
        try await TestSandbox.run(clock: clock) { configuration in
            configuration.faults = [FaultSpec(route: .list, kind: .latency(.seconds(3600)), count: 1)]
        } _: { sandbox in
            async let answer = sandbox.api(.get)
            _ = try await until {
                clock.sleeperCount
            } holds: {
                $0 == 1
            }
            clock.advance(by: .seconds(3600))
            #expect(try await answer.status == 200)
        }
    }
}
