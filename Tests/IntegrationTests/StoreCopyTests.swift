// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

/// Growing out of one machine.
@Suite(.timeLimit(.minutes(10))) struct StoreCopyTests {
    @Test func bridgeGoesOnFromACopyOfItsStore() async throws {
        try await World.run(on: .postgres()) { world in
            let file = "sqlite:\(world.path("old.sqlite"))"
            // The put falls silent behind its first part: there is work to go on with.
            let sandbox = try await world.sandbox(["--fault", "route=part,kind=stall,skip=1,count=1"])
            var bridge = try await world.bridge(
                sandbox, ["DATABASE_URL": file, "CLIPBRIDGE_PART_CONCURRENCY": "1"])
            try await sandbox.subscribe(bridge)
            let done = try await sandbox.copy("sample:1MB")
            try await bridge.clip(done, reaches: .complete)
            let large = try await sandbox.copy("sample:40MB")
            try await bridge.register(large)
            try await until("the first part") { try await sandbox.partsOfUpload(of: large) == 1 }
            try await until("the whole MP4 in the spool") { world.spooledBytes(of: large) == 40_000_000 }

            let copy = ["store", "copy", "--from", file, "--to", world.databaseURL]
            let early = try await world.run(copy)
            #expect(early.status == 69 && early.error.contains("in use"), "\(early.error)")
            try await bridge.program.killed()
            let deliveries = try await world.run(["store", "copy", "--help"])
            #expect(deliveries.status == 0)

            let copied = try await world.run(copy + ["--json"])
            #expect(copied.status == 0, "\(copied.error)")
            let line = try JSONValue(parsing: copied.output)
            #expect(line["clips"] == 2 && line["transfers"] == 1)
            // Again, it has nothing left to do but to look.
            let again = try JSONValue(parsing: try await world.run(copy + ["--json"]).output)
            #expect(again["deliveries"] == 0 && again["ok"] == true)
            for url in [file, world.databaseURL] {
                let verified = try await world.run(["store", "verify", "--json"], ["DATABASE_URL": url])
                #expect(verified.status == 0, "\(url): \(verified.output)")
                #expect(try JSONValue(parsing: verified.output)["clips"] == 2)
            }

            bridge = try await world.bridge(sandbox)
            let clip = try await bridge.clip(large, reaches: .complete)
            expectOnlyForward(clip.history)
            #expect(try await sandbox.downloads(of: large).full == 1)
            #expect(try await bridge.clip(done)?.history.isEmpty == false)
            // A delivery that the old store had seen is still a duplicate.
            let stored = try await bridge.get("/api/deliveries?limit=1")
            let id = try #require(stored["deliveries"]?.arrayValue.first?["id"]?.stringValue)
            let body = try #require(try await bridge.get("/api/deliveries/\(id)")["body"]?.stringValue)
            let repeated = try await bridge.deliver(Array(body.utf8), secret: sandbox.secret)
            #expect(repeated["outcome"] == "duplicate")
            #expect(try await world.run(["store", "verify"]).status == 0)
            // What has a history of its own is not written over.
            let refused = try await world.run(["store", "copy", "--from", file, "--to", world.databaseURL])
            #expect(refused.status == 69 && refused.error.contains("of its own"), "\(refused.error)")
        }
    }

    @Test func wrongStoresAreNamed() async throws {
        try await World.run(on: .sqlite) { world in
            let missing = try await world.run(
                ["store", "copy", "--from", "sqlite:\(world.path("nothing"))", "--to", "sqlite:\(world.path("new"))"])
            #expect(missing.status == 1 && missing.error.contains("not there"), "\(missing.error)")
            #expect(try await world.run(["store", "copy"]).status == 64)
            let same = try await world.run(["store", "copy", "--from", world.databaseURL])
            #expect(same.status == 64, "\(same.error)")
            let unknown = try await world.run(["store", "copy", "--from", "mysql://x"])
            #expect(unknown.status == 64, "\(unknown.error)")
            let away = try await world.run(["store", "verify"], ["DATABASE_URL": "postgres://127.0.0.1:1/nothing"])
            #expect(away.status == 69 && away.error.contains("127.0.0.1"), "\(away.error)")
        }
    }
}
