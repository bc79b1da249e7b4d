// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

/// Requests that others made up from our own description: schemathesis' examples, borders, random values and chains of
/// calls, each answer compared with what is described.
@Suite(.timeLimit(.minutes(10))) struct GeneratedRequestTests {
    /// Beside the Python that `deploy/test.sh` makes.
    private static let schemathesis = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_PYTHON"].map {
        URL(filePath: $0).deletingLastPathComponent().appending(path: "schemathesis").path()
    }

    @Test(.enabled(if: schemathesis != nil, "CLIPBRIDGE_TEST_PYTHON names no Python"))
    func everyAnswerIsAsDescribed() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox, ["CLIPBRIDGE_ADMIN_TOKEN": "an operator's token"])
            // The event stream has no end that a generator could wait for.
            let run = try await world.run(
                [
                    "run", bridge.url + "/openapi.json", "--exclude-path", "/api/events", "--max-examples", "30",
                    "--header", "Authorization: Bearer an operator's token", "--no-color",
                ],
                of: Self.schemathesis, within: .seconds(300))
            #expect(run.status == 0, "\(run.output)")
            // None of it may have passed because nothing was asked.
            #expect(run.output.contains("Tested: 14"), "\(run.output)")
            #expect(bridge.program.isRunning)
        }
    }
}
