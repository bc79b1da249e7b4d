// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import GRDB
import Monitor
import SQLiteClipStore
import Testing

@Suite(.timeLimit(.minutes(2))) struct SQLiteMonitorTests {
    private static func advance(_ request: ActionRequest, _ reporter: any ActionReporter) async -> ActionOutcome {
        switch request.action {
        case .checkVideo: .observed(Observation(status: .streamReady))
        case .requestMP4: .observed(Observation(status: .waitForMP4))
        case .checkMP4: .observed(Observation(status: .mp4Downloading))
        case .transfer: await reporter.transferDone(request)
        }
    }

    @Test func clipsGoAllTheWay() async throws {
        let folder = try Folder()
        let store = try await folder.open()
        let world = World(store) { await Self.advance($0, $1) }
        for number in 0..<20 { try await world.register(uid(number)) }
        try await world.run {
            try await world.deliver(uid(20), .processing, body: "a")
            try await world.passTime { try await store.read { try $0.clipCounts() } == [.complete: 21] }
        }
        #expect(try await LedgerVerification.run(on: store).differences == [])
        try await store.close()
    }

    @Test func whatAnotherProgramWritesIsTaken() async throws {
        let folder = try Folder()
        let store = try await folder.open()
        let world = World(store)
        let other = try DatabaseQueue(path: folder.database)
        try await world.run {
            await world.pass(.seconds(4))
            try await other.write {
                try $0.execute(
                    sql: "INSERT INTO clips VALUES (?, 'queued', NULL), (?, 'x', NULL), (?, 'queued', ?)",
                    arguments: [
                        uid(1).rawValue, uid(2).rawValue, uid(3).rawValue,
                        #"{"requested_status":"error","mine":[1]}"#,
                    ])
            }
            await world.pass(.seconds(15))
            #expect(try await world.status(uid(1)) == .queued)
            #expect(try await world.status(uid(3)) == .error)
        }
        let clip = try await world.clip(uid(3))
        #expect(clip?.details["requested_status"] == nil)
        #expect(clip?.details["mine"] == [1])
        #expect(try await world.clip(uid(2))?.isMet == false)
        #expect(try await LedgerVerification.run(on: store).differences == [])
        try other.close()
        try await store.close()
    }

    /// The application's table may not know every status of ours.
    @Test func statusThatTheTableRefusesIsNotAskedForWithoutEnd() async throws {
        let folder = try Folder()
        let other = try DatabaseQueue(path: folder.database)
        try await other.write {
            try $0.execute(
                sql: """
                    CREATE TABLE clips (cloudflare_uid TEXT PRIMARY KEY, processing_details TEXT,
                        status TEXT CHECK (status IN ('queued', 'stream_ready', 'r2_uploading')))
                    """)
        }
        let store = try await folder.open()
        let world = World(store) { request, reporter in
            switch request.action {
            case .requestMP4: return .observed(Observation(status: .waitForMP4))
            case .transfer: break
            default: return .observed(Observation(status: .processing))
            }
            do {
                _ = try await reporter.report(Observation(status: .complete), for: request)
                return .reported
            } catch let failure as ActionFailure {
                return .failed(failure)
            } catch {
                return .abandoned
            }
        }
        try await world.register(uid(1), .queued)
        try await world.register(uid(2), .r2Uploading)
        try await world.register(uid(3), .streamReady)
        try await world.run { await world.pass(.seconds(300)) }
        for (clip, action, status) in [
            (uid(1), Action.checkVideo, ClipStatus.queued), (uid(2), .transfer, .r2Uploading),
            (uid(3), .requestMP4, .streamReady),
        ] {
            #expect((2...20).contains(world.performer.calls(action).count))
            #expect(try await world.status(clip) == status)
            let details = try #require(try await world.clip(clip)?.details)
            #expect(details[.errorCode] == "status_refused")
            #expect(details[.attempt] != nil && details[.nextAttemptAt] != nil)
        }
        try other.close()
        try await store.close()
    }

    @Test func rowThatTheTableDoesNotLetUsCreateIsRejected() async throws {
        let folder = try Folder()
        let other = try DatabaseQueue(path: folder.database)
        try await other.write {
            try $0.execute(
                sql: """
                    CREATE TABLE clips (cloudflare_uid TEXT PRIMARY KEY, processing_details TEXT, status TEXT,
                        title TEXT NOT NULL)
                    """)
        }
        let store = try await folder.open()
        let world = World(store)
        try await world.run {
            try await world.deliver(uid(1), .queued, body: "a")
            try await eventually { try await world.history(uid(1)).first?.reason == .unknownClip }
        }
        #expect(try await world.clip(uid(1)) == nil)
        try other.close()
        try await store.close()
    }
}
