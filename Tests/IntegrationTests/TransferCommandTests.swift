// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

/// What `clipbridge transfer` says, and its exit codes.
@Suite(.timeLimit(.minutes(10))) struct TransferCommandTests {
    /// Nothing comes to its end before somebody ends it.
    private static let slow = ["CLIPBRIDGE_BANDWIDTH": "1G:1k"]

    @Test func wrongUsageIs64() async throws {
        try await World.run { world in
            for url in [
                "file.mp4", "ftp://localhost/file.mp4", "http://example.com/file.mp4", "https://user:pass@localhost/a",
            ] {
                let wrong = try await world.run(["transfer", url, "key"])
                #expect(wrong.status == 64 && wrong.error.contains("HTTPS"), "\(url): \(wrong.error)")
                #expect(!wrong.error.contains("pass@"))
            }
            let wrong = try await world.run(["transfer", "https://localhost/file.mp4", ""])
            #expect(wrong.status == 64 && wrong.error.contains("KEY"), "\(wrong.error)")
            let bare = try await world.run(["transfer", "https://localhost/file.mp4", "key"])
            #expect(bare.status == 78 && bare.error.contains("R2_"), "\(bare.error)")
        }
    }

    @Test func refusedKeyIs77AndCostsNoDownload() async throws {
        try await TransferScene.run(.small) { scene in
            let sandbox = try await scene.world.sandbox()
            let refused = try await scene.world.run(
                scene.command + ["--config", sandbox.settingsFile], ["R2_SECRET_ACCESS_KEY": "wrong"])
            #expect(refused.status == 77 && refused.error.contains("R2_SECRET_ACCESS_KEY"), "\(refused.error)")
            let line = try TransferLine(refused.output)
            #expect(line.json["ok"] == false && line.json["error"]?.stringValue?.isEmpty == false)
            #expect(scene.source.sendings.isEmpty)
            #expect(try scene.keptFiles() == [])
        }
    }

    @Test func missingBucketIs1AndCostsNoDownload() async throws {
        try await TransferScene.run(.small) { scene in
            let elsewhere = scene.settings("key", ["R2_BUCKET_NAME": "elsewhere"])
            let missing = try await scene.world.run(scene.command, elsewhere)
            #expect(missing.status == 1 && missing.error.contains("R2_BUCKET_NAME"), "\(missing.error)")
            #expect(scene.source.sendings.isEmpty)
        }
    }

    @Test func fileThatIsNotThereIs1() async throws {
        try await TransferScene.run(.small) { scene in
            var command = scene.command
            command[1] += ".not"
            let missing = try await scene.world.run(command, scene.settings("key"))
            #expect(missing.status == 1 && missing.error.contains("404"), "\(missing.error)")
            #expect(!scene.storage.hasOpenUpload)
        }
    }

    @Test func objectThatIsThereIsReplacedAndThatIsSaid() async throws {
        try await TransferScene.run(.small) { scene in
            let first = try await scene.world.run(scene.command, scene.settings("key"))
            #expect(first.status == 0 && first.error.isEmpty, "\(first.error)")
            let second = try await scene.world.run(scene.command, scene.settings("key"))
            #expect(second.status == 0 && second.error.contains("will be replaced"), "\(second.error)")
            #expect(try scene.storage.sha256() == scene.source.sha256)
            #expect(scene.storage.uploadsOpened == 2)
        }
    }

    @Test func secondProcessForTheSameObjectIsRefused() async throws {
        try await TransferScene.run(.small) { scene in
            let first = try scene.world.start(scene.command, scene.settings("first", Self.slow))
            try await until("the first one's put") {
                try #require(first.isRunning, "\(first.error)")
                return !scene.storage.puts.isEmpty
            }
            let second = try await scene.world.run(scene.command, scene.settings("second"))
            #expect(second.status == 69 && second.error.contains("another process"), "\(second.error)")
            try await first.killed()
            // What the dead one held is free.
            let third = try await scene.world.run(scene.command, scene.settings("third"))
            #expect(third.status == 0 && third.error.contains("going on"), "\(third.error)")
            #expect(try scene.keptFiles() == [])
        }
    }

    @Test(arguments: [(SIGINT, 130), (SIGTERM, 143)] as [(Int32, Int32)])
    func interruptedTransferSaysSoAndIsGoneOnWith(signal: Int32, code: Int32) async throws {
        try await TransferScene.run(.small, .download, percent: 50, signal: signal) { scene in
            let first = try scene.world.start(scene.command, scene.settings("first", Self.slow))
            scene.wire.arm(for: first)
            #expect(try await first.exitCode() == code)
            #expect(first.error.contains("run again"), "\(first.error)")
            let line = try TransferLine(first.output)
            #expect(line.json["ok"] == false && line.json["error"]?.stringValue?.contains("interrupted") == true)
            // To the byte: what was counted is what is kept.
            #expect(try line.received == scene.spooledBytes)

            let again = try await scene.world.run(scene.command, scene.settings("second"))
            #expect(again.status == 0, "\(again.error)")
            #expect(try scene.storage.sha256() == scene.source.sha256)
            let received = try line.received + (try TransferLine(again.output)).received
            #expect(received == scene.source.size)
            #expect(scene.source.bytes <= scene.source.size + scene.size.partBytes)
            #expect(try scene.keptFiles() == [])
        }
    }

    /// A bridge clears up its spool when it starts, and this is none of its business.
    @Test func bridgeThatStartsLeavesTheTransferAlone() async throws {
        try await TransferScene.run(.small) { scene in
            let first = try scene.world.start(scene.command, scene.settings("first", Self.slow))
            try await until("the first one's put") {
                try #require(first.isRunning, "\(first.error)")
                return !scene.storage.puts.isEmpty
            }
            let kept = try scene.keptFiles().sorted()
            let sandbox = try await scene.world.sandbox()
            _ = try await scene.world.bridge(sandbox)
            #expect(try scene.keptFiles().sorted() == kept)
            try await first.killed()
        }
    }
}
