// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct IdleTests {
    @Test func idleBridgeAsksNobodyAndUsesNoProcessorTime() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            // The polls' own pace, as it is without settings.
            let bridge = try await world.bridge(
                sandbox, ["CLIPBRIDGE_POLL_MIN": "2s", "CLIPBRIDGE_POLL_MAX": "60s"])
            let uid = try await sandbox.copy("sample:1MB")
            try await bridge.register(uid)
            try await bridge.clip(uid, reaches: .complete)
            let port = sandbox.port
            sandbox.program.send(SIGTERM)
            try await sandbox.program.exitCode(within: .seconds(30))

            let (requests, share) = try await LoopbackServer.run(port: port) { upstream in
                let (start, before) = (ContinuousClock.now, try bridge.program.processorSeconds())
                try await letPass(.seconds(6))
                let used = try bridge.program.processorSeconds() - before
                let elapsed = (ContinuousClock.now - start).inSeconds
                return (upstream.requests, used / elapsed)
            }
            #expect(requests == 0)
            // Of one core.
            #expect(share < 0.01, "\(share * 100) %")
        }
    }
}
