// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct DemoTests {
    @Test func everyClipEndsInTheBucketWithItsBytesCompared() async throws {
        try await World.run { world in
            let demo = try await world.run(["demo", "--json", "--clips", "3"], within: .seconds(120))
            #expect(demo.status == 0, "\(demo.error)")
            #expect(demo.lines.count == 1)
            let result = try JSONValue(parsing: demo.output)
            #expect(result["ok"] == true && result["clips"] == 3 && result["complete"] == 3 && result["failed"] == [])
            #expect(try Self.leftovers(in: world).isEmpty)
        }
    }

    @Test func interruptionCleansUp() async throws {
        try await World.run { world in
            let demo = try world.start(["demo", "--clips", "2", "--speed", "0.01"])
            try await until("the demo's clips") {
                try #require(demo.isRunning, "\(demo.error)")
                return demo.error.contains("uploading")
            }
            #expect(try !Self.leftovers(in: world).isEmpty)
            demo.send(SIGINT)
            #expect(try await demo.exitCode(within: .seconds(30)) == 130)
            #expect(try Self.leftovers(in: world).isEmpty)
        }
    }

    private static func leftovers(in world: World) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: world.folder.path()).filter {
            $0.hasPrefix("clipbridge-demo-")
        }
    }
}
