// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import HTTPTypes
import Testing

/// Deliveries signed by others than the sandbox.
@Suite(.timeLimit(.minutes(10))) struct SignedDeliveryTests {
    @Test func readmesCurlAndOpenSSLAreAccepted() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox)
            let uid = try await sandbox.copy("sample:1MB")
            let script = try Self.readmeScript()
                .replacingOccurrences(of: "http://127.0.0.1:8787", with: bridge.url)
                .replacingOccurrences(of: "UID", with: uid)
            let sent = try await world.run(
                ["-euo", "pipefail", "-c", script], ["CLOUDFLARE_WEBHOOK_SECRET": sandbox.secret], of: "/bin/bash")
            #expect(sent.status == 0, "\(sent.error)")
            #expect(sent.output.contains("200 OK") && sent.output.contains(#""outcome":"accepted""#), "\(sent.output)")
            let clip = try await bridge.clip(uid, reaches: .complete)
            #expect(clip.history.first?["source"] == "webhook")
            #expect(clip.history.first?["requested_status"] == "stream_ready")
        }
    }

    @Test func requestIsFollowedFromTheWebhookToTheLastStatus() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox, ["CLIPBRIDGE_LOG_LEVEL": "debug"])
            let uid = try await sandbox.copy("sample:1MB")
            let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
            let body = try JSONValue.object(["uid": .string(uid), "status": ["state": "ready"]]).bytes
            let traceparent = try #require(HTTPField.Name("traceparent"))
            let answer = try await bridge.deliver(
                body, secret: sandbox.secret, headers: [traceparent: "00-\(trace)-00f067aa0ba902b7-01"])
            #expect(answer.status == 200)
            try await bridge.clip(uid, reaches: .complete)
            func lines() -> [JSONValue] {
                bridge.program.error.split(separator: "\n").compactMap { try? JSONValue(parsing: $0) }
                    .filter { $0["trace.id"]?.stringValue == trace && $0["clip.uid"]?.stringValue == uid }
            }
            // A status is seen as soon as it is committed, and logged after that.
            try await until("the log of the last status") {
                lines().contains { $0["message"] == "clip changed status" && $0["clip.status"] == "complete" }
            }
            #expect(lines().contains { $0["message"] == "delivery stored" && $0["delivery.id"] == answer["delivery"] })
        }
    }

    @Test func replaySignsAndSaysWhatWasAnswered() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox)
            let uid = try await sandbox.copy("sample:1MB")
            let payload: JSONValue = ["uid": .string(uid), "readyToStream": true, "status": ["state": "ready"]]
            try Data(payload.bytes).write(to: world.folder.appending(path: "ready.json"))
            let to = ["replay", "ready.json", "--config", sandbox.settingsFile, "--to", bridge.url]
            let replay = try await world.run(to + ["--duplicate", "1"])
            #expect(replay.status == 0, "\(replay.error)")
            #expect(replay.lines.count == 2)
            #expect(replay.lines.allSatisfy { $0.hasPrefix("200 ready.json ") })
            #expect(replay.lines.first?.contains(#""accepted""#) == true)
            #expect(replay.lines.last?.contains(#""duplicate""#) == true)
            try await bridge.clip(uid, reaches: .complete)

            let forged = try await world.run(to + ["--secret", "not the secret"])
            #expect(forged.status == 1 && forged.output.hasPrefix("401 "))
            // Port 9 of loopback: nothing listens there.
            let lost = try await world.run(["replay", "ready.json", "--secret", "s", "--to", "http://127.0.0.1:9"])
            #expect(lost.status == 69 && lost.error.contains("can not be reached"))
        }
    }

    /// The block of README.md that signs a webhook by hand.
    private static func readmeScript() throws -> String {
        let readme = try String(contentsOf: Project.root.appending(path: "README.md"), encoding: .utf8)
        let blocks = readme.components(separatedBy: "```").filter { $0.hasPrefix("sh\n") }
        return String(try #require(blocks.first { $0.contains("openssl dgst") }).dropFirst(3))
    }
}
