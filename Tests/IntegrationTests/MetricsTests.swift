// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

/// The metrics' page in the eyes of Prometheus' own checker.
@Suite(.timeLimit(.minutes(10))) struct MetricsTests {
    @Test func livePageHasNothingThatPrometheusWouldChange() async throws {
        let promtool = try #require(
            ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_PROMTOOL"],
            "CLIPBRIDGE_TEST_PROMTOOL is not set: run deploy/test.sh, which unpacks Prometheus' checker")
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(
                sandbox, ["CLIPBRIDGE_PUBLIC_URL": "https://bridge.example.com"])
            let uid = try await sandbox.copy("sample:1MB")
            let body = try JSONValue.object(["uid": .string(uid), "status": ["state": "inprogress"]]).bytes
            #expect(try await bridge.deliver(body, secret: sandbox.secret).status == 200)
            try await bridge.clip(uid, reaches: .complete)
            let page = try await bridge.get("/metrics").text
            let seen = [
                "clipbridge_store_up 1", #"clipbridge_oldest_clip_age_seconds{status="uploading"} 0"#,
                "clipbridge_oldest_pending_signal_age_seconds 0", "clipbridge_last_webhook_timestamp_seconds ",
                "clipbridge_spool_max_bytes 21474836480",
            ]
            for line in seen { #expect(page.contains("\n\(line)"), "\(line)") }
            let checked = try await check(page, with: promtool, in: world)
            #expect(checked.status == 0, "\(checked.output)\(checked.error)")
            #expect(checked.output + checked.error == "")
            // The checker does look.
            let wrong = "# TYPE clipbridge_mended counter\nclipbridge_mended 1\n"
            #expect(try await check(page + wrong, with: promtool, in: world).status != 0)
        }
    }

    private func check(_ page: String, with promtool: String, in world: World) async throws -> FinishedProgram {
        let file = world.path("metrics.txt")
        try Data(page.utf8).write(to: URL(filePath: file))
        return try await world.run(["-c", #"exec "$0" check metrics <"$1""#, promtool, file], of: "/bin/sh")
    }
}
