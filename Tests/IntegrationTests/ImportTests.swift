// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

/// `clips import`: videos that were there before the bridge.
@Suite(.timeLimit(.minutes(10))) struct ImportTests {
    private func runImport(
        _ arguments: [String], _ sandbox: SandboxProcess, _ server: String, _ world: World,
        _ settings: [String: String] = [:]
    ) async throws -> FinishedProgram {
        try await world.run(
            ["clips", "import", "--config", sandbox.settingsFile, "--server", server] + arguments, settings)
    }

    private func tally(registered: Int64 = 0, known: Int64 = 0, failed: Int64 = 0) -> JSONValue {
        [
            "registered": .integer(registered), "known": .integer(known), "skipped": 0, "failed": .integer(failed),
        ]
    }

    @Test func videosThatWereThereBeforeAreBroughtIn() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            var good: [String] = []
            for _ in 0..<2 { good.append(try await sandbox.copy("sample:1MB")) }
            let bad = try await sandbox.copy("sample:1MB", ["meta": ["sandbox_error": "ERR_MALFORMED_VIDEO"]])
            let bridge = try await world.bridge(sandbox)
            let dry = try await until("the videos' encoding", every: .milliseconds(250)) { () -> FinishedProgram? in
                let dry = try await runImport(["--dry-run"], sandbox, bridge.url, world)
                try #require(dry.status == 0, "\(dry.error)")
                return dry.lines.filter { $0.hasSuffix("\tstream_ready") }.count == 2 ? dry : nil
            }
            #expect(Set(dry.lines.map { String($0.prefix { $0 != "\t" }) }) == Set(good + [bad]))
            #expect(dry.lines.contains { $0 == "\(bad)\tuploading" }, "\(dry.output)")
            #expect(try await bridge.get("/api/clips")["clips"]?.arrayValue.isEmpty == true)

            let first = try await runImport(["--json"], sandbox, bridge.url, world)
            #expect(first.status == 0, "\(first.error)")
            #expect(try JSONValue(parsing: first.output) == tally(registered: 3))
            let again = try await runImport(["--json"], sandbox, bridge.url, world)
            #expect(try JSONValue(parsing: again.output) == tally(known: 3))
            for uid in good {
                let clip = try await bridge.clip(uid, reaches: .complete)
                expectOnlyForward(clip.history)
                #expect(
                    clip.history.contains { $0["source"] == "operator" && $0["requested_status"] == "stream_ready" })
                #expect(clip.detail(.hlsURL)?.contains(uid) == true)
                #expect(try await sandbox.downloads(of: uid).full == 1)
            }
            let stopped = try await bridge.clip(bad, reaches: .error)
            #expect(stopped.detail(.errorCode) == "ERR_MALFORMED_VIDEO")
        }
    }

    @Test func limitTakesTheNewestAndAnEmptyAccountNone() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox)
            let empty = try await runImport(["--json"], sandbox, bridge.url, world)
            #expect(empty.status == 0, "\(empty.error)")
            #expect(try JSONValue(parsing: empty.output) == tally())
            for _ in 0..<3 { _ = try await sandbox.copy("sample:1MB") }
            let limited = try await runImport(["--limit", "2"], sandbox, bridge.url, world)
            #expect(limited.status == 0 && limited.output.hasPrefix("2 registered"), "\(limited.error)")
            #expect(try await bridge.get("/api/clips")["clips"]?.arrayValue.count == 2)
            let wrong = try await runImport(["--limit", "-1"], sandbox, bridge.url, world)
            #expect(wrong.status == 64)
        }
    }

    @Test func refusalsHaveTheirExitCodes() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let admin = ["CLIPBRIDGE_ADMIN_TOKEN": "open sesame"]
            let bridge = try await world.bridge(sandbox, admin)
            _ = try await sandbox.copy("sample:1MB")
            let cloudflare = try await runImport(
                [], sandbox, bridge.url, world, admin.merging(["CLOUDFLARE_API_TOKEN": "wrong"]) { $1 })
            #expect(cloudflare.status == 77 && cloudflare.error.contains("CLOUDFLARE_API_TOKEN"))
            let operation = try await runImport([], sandbox, bridge.url, world, ["CLIPBRIDGE_ADMIN_TOKEN": "wrong"])
            #expect(operation.status == 77 && operation.error.contains("CLIPBRIDGE_ADMIN_TOKEN"))
            let gone = try await runImport([], sandbox, "http://127.0.0.1:9", world, admin)
            #expect(gone.status == 69 && gone.error.contains("can not be reached"), "\(gone.error)")
            let lost = try await runImport(
                [], sandbox, bridge.url, world,
                admin.merging(["CLOUDFLARE_API_BASE": "http://127.0.0.1:9/client/v4"]) { $1 })
            #expect(lost.status == 69, "\(lost.error)")
        }
    }

    /// An application's own table may want more of a row than the bridge can give.
    @Test func clipsThatCanNotBeRegisteredAreCounted() async throws {
        try await World.run { world in
            let columns = "cloudflare_uid TEXT NOT NULL UNIQUE, status TEXT, title TEXT NOT NULL, processing_details"
            _ = try await world.query(
                "CREATE TABLE clips (id INTEGER PRIMARY KEY, \(columns) TEXT)",
                postgres: "CREATE TABLE clips (id BIGSERIAL PRIMARY KEY, \(columns) JSONB)")
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox)
            let uid = try await sandbox.copy("sample:1MB")
            let failed = try await runImport(["--json"], sandbox, bridge.url, world)
            #expect(failed.status == 1 && failed.error.contains(uid), "\(failed.error)")
            #expect(try JSONValue(parsing: failed.output) == tally(failed: 1))
        }
    }
}
