// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

/// The same deliveries in other orders, each of them twice.
@Suite(.timeLimit(.minutes(10))) struct FixtureOrderTests {
    /// Where each clip ends while Cloudflare's API gives no answers, so that the deliveries alone say it. A failed MP4 is
    /// no error: it has to be asked about, which leads no further here.
    private static let expected: [String: String] = [
        "3f2a9c71e5b84d06a1c7d2e98b40f516": "mp4downloading",
        "3ba28382e6cb3cfa56aedb71eff3f0d3": "uploading",
        "48b844df87f31c5683dcff171d254b56": "uploading",
        "49bfbea88f5492294450634cc1503093": "mp4downloading",
        "96d7d7ef19ed5ae4904d9213b5aaa8d2": "stream_ready",
        "a044576667bddb1cf2acc888586c6ecf": "stream_ready",
        "a1f88f1d57b22e6076fa75f842522354": "stream_ready",
        "bed6bd37475547f81f5a50c1ed976207": "error",
        "d05ae011708e2ebe1d75d6275d6375d2": "waitformp4",
        "d601913c3352fb33f4afcbda61512871": "mp4downloading",
        "db80dce2a0859713c8415575dca45b01": "stream_ready",
        "edb9dbcea00f305b8c70b36d6fe9f286": "error",
    ]

    @Test(arguments: [1, 2, 3]) func orderAndRepetitionChangeNothing(seed: Int) async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox(["--fault", "route=api,status=503,retry-after=600"])
            let bridge = try await world.bridge(sandbox)
            try await replay(seed: seed, sandbox, bridge, world)
            try await until("the decision of every signal") {
                try await JSONValue(parsing: world.run(["store", "verify", "--json"]).output)["pending"] == 0
            }
            let statuses = try await Self.statuses(bridge, world)
            #expect(statuses == Self.expected)
            for uid in Self.expected.keys {
                let clip = try #require(try await bridge.clip(uid))
                expectOnlyForward(clip.history)
            }
            try await verify(world)
            bridge.program.send(SIGTERM)
            let code = try await bridge.program.exitCode(within: .seconds(30))
            #expect(code == 0)
            try await verify(world)
        }
    }

    private func replay(
        seed: Int, _ sandbox: SandboxProcess, _ bridge: BridgeProcess, _ world: World
    ) async throws {
        let fixtures = Project.fixtures.appending(path: "stream").path()
        let replay = try await world.run([
            "replay", fixtures, "--shuffle", "--duplicate", "1", "--seed", "\(seed)", "--config",
            sandbox.settingsFile, "--to", bridge.url,
        ])
        // Notifications that are no video objects are refused, as they should be.
        #expect(replay.lines.allSatisfy { $0.hasPrefix("200 ") || $0.contains("uid_missing") }, "\(replay.output)")
        let accepted = replay.lines.count { $0.contains(#""accepted""#) }
        let duplicates = replay.lines.count { $0.contains(#""duplicate""#) }
        #expect(accepted > 10 && duplicates >= accepted)
    }

    private func verify(_ world: World) async throws {
        let verified = try await world.run(["store", "verify", "--json"])
        #expect(verified.status == 0, "\(verified.output)\(verified.error)")
        let result = try JSONValue(parsing: verified.output)
        #expect(result["ok"] == true && result["clips"] == .integer(Int64(Self.expected.count)))
    }

    private static func statuses(_ bridge: BridgeProcess, _ world: World) async throws -> [String: String] {
        let listed = try await world.run(["clips", "list", "--json", "--limit", "0", "--server", bridge.url])
        let clips = try JSONValue(parsing: listed.output)["clips"]?.arrayValue ?? []
        return clips.reduce(into: [:]) { statuses, clip in
            statuses[clip["uid"]?.stringValue ?? ""] = clip["status"]?.stringValue
        }
    }
}
