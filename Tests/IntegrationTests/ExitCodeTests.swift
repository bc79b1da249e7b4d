// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

/// The contract's exit codes.
@Suite(.timeLimit(.minutes(10))) struct ExitCodeTests {
    @Test func wrongUsageIs64AndHelpIs0() async throws {
        try await World.run { world in
            let nothing = try await world.run([])
            #expect(nothing.status == 64 && nothing.error.contains("USAGE: clipbridge"))
            for arguments in [
                ["serve", "--no-such-option"], ["no-such-command"], ["demo", "--clips", "0"], ["replay"],
                ["clips", "show", ""], ["clips", "explain", "a/b"], ["signal", "", "queued"],
                ["clips", "list", "--server", "nope"],
            ] {
                let wrong = try await world.run(arguments)
                #expect(wrong.status == 64 && wrong.error.contains("Usage"), "\(arguments): \(wrong.error)")
            }
            let fault = try await world.run(["sandbox", "--fault", "route=nowhere,kind=reset"])
            #expect(fault.status == 64 && fault.error.contains("nowhere"))
            for command in [
                [], ["serve"], ["sandbox"], ["demo"], ["replay"], ["clips"], ["signal"], ["webhook"], ["check"],
                ["store"],
            ] {
                let help = try await world.run(command + ["--help"])
                #expect(help.status == 0 && help.output.contains("USAGE: clipbridge"))
            }
            let version = try await world.run(["--version"])
            #expect(version.status == 0 && version.output.contains("."))
        }
    }

    @Test func fileThatIsNotThereIsNotMade() async throws {
        try await World.run(on: .sqlite) { world in
            let path = world.path("none.sqlite")
            let refused = try await world.run(["store", "verify", "--database-url", "sqlite:\(path)"])
            #expect(refused.status == 1 && refused.error.contains("is not there"), "\(refused.error)")
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test func takenPortAndTakenDatabaseAre69() async throws {
        try await World.run(on: .sqlite) { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox)
            let settings = [
                "CLIPBRIDGE_PORT": "\(bridge.port)", "DATABASE_URL": "sqlite:\(world.path("other.sqlite"))",
            ]
            let port = try await world.run(["serve", "--config", sandbox.settingsFile], settings)
            #expect(port.status == 69 && port.error.contains("port \(bridge.port)"), "\(port.error)")
            let database = try await world.run(
                ["serve", "--config", sandbox.settingsFile], ["CLIPBRIDGE_PORT": "0"])
            #expect(database.status == 69 && database.error.contains("clipbridge.sqlite"), "\(database.error)")
            let second = try await world.run(["sandbox", "--port", "\(sandbox.port)", "--data", world.path("other")])
            #expect(second.status == 69 && second.error.contains("port \(sandbox.port)"), "\(second.error)")
            // The first ones go on.
            #expect(try await bridge.get("/readyz").status == 200)
        }
    }

    @Test func operatorCommandsSayWhatBecameOfThem() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let admin = ["CLIPBRIDGE_ADMIN_TOKEN": "open sesame"]
            let bridge = try await world.bridge(sandbox, admin)
            func run(_ arguments: [String], _ settings: [String: String]) async throws -> FinishedProgram {
                try await world.run(arguments + ["--server", bridge.url], settings)
            }
            for wrong in [["CLIPBRIDGE_ADMIN_TOKEN": "wrong"], [:]] {
                let refused = try await run(["clips", "list"], wrong)
                #expect(refused.status == 77 && refused.error.contains("CLIPBRIDGE_ADMIN_TOKEN"), "\(refused.error)")
            }
            let uid = try await sandbox.copy("sample:1MB")
            #expect(try await run(["clips", "register", uid], admin).status == 0)
            try await until("the clip's completion") {
                let shown = try await run(["clips", "show", uid, "--json"], admin)
                return try JSONValue(parsing: shown.output)["status"] == "complete"
            }
            let rejected = try await run(["signal", uid, "queued"], admin)
            #expect(rejected.status == 1 && rejected.output.contains("rejected (backward)"), "\(rejected.output)")
            let unknown = try await run(["clips", "show", "nobody"], admin)
            #expect(unknown.status == 1 && unknown.error.contains("nobody"))
            #expect(try await run(["clips", "retry", uid], admin).status == 1)
            #expect(try await run(["clips", "explain", uid], admin).output.contains("complete"))
            #expect(try await run(["clips", "list", "--status", "complete"], admin).output.hasPrefix(uid))
            #expect(try await run(["clips", "list", "--status", "no-such"], admin).status == 1)
            // A text that would command the terminal.
            let details = #"{"error_message": "a\u001b[2Jb\u009b1mc"}"#
            #expect(try await run(["signal", uid, "error", "--details", details], admin).status == 0)
            let card = try await run(["clips", "show", uid], admin).output
            #expect(
                card.contains("[2Jb") && !card.unicodeScalars.contains { ["\u{1B}", "\u{9B}"].contains($0) }, "\(card)")
            let lost = try await world.run(["clips", "list", "--server", "http://127.0.0.1:9"])
            #expect(lost.status == 69 && lost.error.contains("can not be reached"))
        }
    }

    @Test func checkTellsATokenThatMayOnlyRead() async throws {
        try await World.run(on: .sqlite) { world in
            let sandbox = try await world.sandbox(["--fault", "route=downloads,status=403"])
            let check = try await world.run(
                ["check", "--config", sandbox.settingsFile], ["CLIPBRIDGE_SPOOL_MAX_BYTES": "1MiB"])
            #expect(check.status == 77 && check.output.contains("ok    cloudflare"), "\(check.output)")
            #expect(check.output.contains("FAIL  permission") && check.output.contains("Stream: Edit"))
        }
    }

    @Test func checkSaysInWordsWhatIsWrong() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            func check(_ settings: [String: String] = [:]) async throws -> FinishedProgram {
                try await world.run(
                    ["check", "--config", sandbox.settingsFile],
                    ["CLIPBRIDGE_SPOOL_MAX_BYTES": "1MiB"].merging(settings) { $1 })
            }
            let good = try await check()
            #expect(good.status == 0, "\(good.output)\(good.error)")
            #expect(good.lines.count == 7 && good.lines.allSatisfy { $0.hasPrefix("ok ") })
            let webhook = try await check(["CLIPBRIDGE_PUBLIC_URL": "https://bridge.example.com"])
            #expect(webhook.status == 1 && webhook.output.contains("no webhook is subscribed"), "\(webhook.output)")
            let missing = try await world.run(["check"])
            #expect(missing.status == 78)
            for name in ["CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_WEBHOOK_SECRET", "R2_BUCKET_NAME"] {
                #expect(missing.error.contains(name), "\(missing.error)")
            }
            let token = try await check(["CLOUDFLARE_API_TOKEN": "wrong"])
            #expect(token.status == 77 && token.output.contains("CLOUDFLARE_API_TOKEN"), "\(token.output)")
            let key = try await check(["R2_SECRET_ACCESS_KEY": "wrong"])
            #expect(key.status == 77 && key.output.contains("R2_SECRET_ACCESS_KEY"), "\(key.output)")
            let bucket = try await check(["R2_BUCKET_NAME": "no-such-bucket"])
            #expect(bucket.status == 1 && bucket.output.contains("R2_BUCKET_NAME"), "\(bucket.output)")
            let gone = try await check(["CLOUDFLARE_API_BASE": "http://127.0.0.1:9/client/v4"])
            #expect(gone.status == 69 && gone.output.contains("FAIL  cloudflare"), "\(gone.output)")
        }
    }
}
