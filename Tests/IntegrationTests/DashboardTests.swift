// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The dashboard in a real browser, over a bridge and a sandbox.
@Suite(.timeLimit(.minutes(10))) struct DashboardTests {
    /// A Python that has playwright and axe-playwright-python; `deploy/test.sh` makes one, and installs Chromium.
    private static let python = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_PYTHON"]
    /// Keeps pictures of the pages where it is set.
    private static let pictures = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_SCREENSHOTS"]

    @Test(.enabled(if: python != nil, "CLIPBRIDGE_TEST_PYTHON names no Python"))
    func browserShowsAndMovesClips() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox(speed: 10)
            let token = ["CLIPBRIDGE_ADMIN_TOKEN": "a token for the browser"]
            let bridge = try await world.bridge(sandbox, token)
            try await sandbox.subscribe(bridge)
            let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Browser/dashboard.py")
            let pictures = Self.pictures.map { ["CLIPBRIDGE_TEST_SCREENSHOTS": $0] } ?? [:]
            let run = try await world.run(
                [script.path(), bridge.url, sandbox.settingsFile], token.merging(pictures) { own, _ in own },
                of: Self.python, within: .seconds(480))
            #expect(run.status == 0, "\(run.output)\(run.error)")
        }
    }
}
