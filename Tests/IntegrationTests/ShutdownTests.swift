// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct ShutdownTests {
    @Test func runningTransferIsHandedBackAndGoneOnWith() async throws {
        try await World.run { world in
            // Silence, so that the transfer can not come to its end by itself.
            let sandbox = try await world.sandbox(["--fault", "route=mp4,kind=stall,after=20MiB,count=1"])
            let bridge = try await world.bridge(sandbox)
            let uid = try await sandbox.copy("sample:40MB")
            try await bridge.register(uid)
            try await until("the first part") { try await sandbox.partsOfUpload(of: uid) == 1 }
            bridge.program.send(SIGTERM)
            // DESIGN §8: at most 25 s.
            #expect(try await bridge.program.exitCode(within: .seconds(25)) == 0)
            #expect(bridge.program.error.contains(#""message":"stopped""#))
            #expect(
                try await world.query(
                    "SELECT action, lease_owner IS NULL, attempt FROM clipbridge_work",
                    postgres: "SELECT action, (lease_owner IS NULL)::int, attempt FROM clipbridge_work")
                    == "transfer|1|0")

            let next = try await world.restart(bridge, sandbox)
            let clip = try await next.clip(uid, reaches: .complete, within: .seconds(10))
            expectOnlyForward(clip.history)
            // The first part is not fetched again.
            let downloads = try await sandbox.downloads(of: uid)
            #expect(downloads.full == 1 && downloads.ranges == 1, "\(downloads)")
        }
    }

    @Test func idleProcessesEndAtOnce() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox)
            for program in [bridge.program, sandbox.program] {
                program.send(SIGTERM)
                #expect(try await program.exitCode(within: .seconds(10)) == 0, "\(program.error)")
            }
        }
    }
}
