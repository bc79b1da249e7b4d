// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import HTTPTypes
import Testing

/// The account's one subscription, from a terminal and from a bridge.
@Suite(.timeLimit(.minutes(10))) struct WebhookCommandTests {
    private static let publicURL = "https://bridge.example.com"
    private static let receiver = "https://bridge.example.com/webhooks/cloudflare-stream"
    private static let elsewhere = "https://other.example.com/hook"

    /// Runs `clipbridge webhook` with the sandbox as Cloudflare.
    private func webhook(
        _ arguments: [String], _ sandbox: SandboxProcess, _ world: World, _ settings: [String: String] = [:]
    ) async throws -> FinishedProgram {
        try await world.run(
            ["webhook"] + arguments + ["--config", sandbox.settingsFile],
            ["CLIPBRIDGE_PUBLIC_URL": Self.publicURL].merging(settings) { $1 })
    }

    @Test func subscriptionIsMadeShownAndChecked() async throws {
        try await World.run(on: .sqlite) { world in
            let sandbox = try await world.sandbox()
            for command in ["show", "check"] {
                let none = try await webhook([command], sandbox, world)
                #expect(none.status == 1 && none.error.contains("no webhook is subscribed"), "\(none.error)")
            }
            let first = try await webhook(["subscribe"], sandbox, world)
            #expect(first.status == 0 && first.output == "CLOUDFLARE_WEBHOOK_SECRET=\(sandbox.secret)\n")
            #expect(first.error.contains(Self.receiver), "\(first.error)")
            let again = try await webhook(["subscribe"], sandbox, world)
            #expect(again.status == 0 && again.output == first.output && again.error.contains("already"))
            let good = try await webhook(["check"], sandbox, world)
            #expect(good.status == 0 && good.output.contains(Self.receiver), "\(good.error)")

            let shown = try await webhook(["show"], sandbox, world)
            #expect(shown.status == 0 && shown.output.contains(Self.receiver))
            #expect(!shown.output.contains(sandbox.secret))
            let json = try JSONValue(parsing: try await webhook(["show", "--json"], sandbox, world).output)
            #expect(json["notificationUrl"]?.stringValue == Self.receiver && json["secretKnown"] == true)
            #expect(json["modified"]?.stringValue?.isEmpty == false && json["secret"] == nil)
            let full = try await webhook(["show", "--json", "--show-secret"], sandbox, world)
            #expect(try JSONValue(parsing: full.output)["secret"]?.stringValue == sandbox.secret)
        }
    }

    @Test func changedURLChangesTheSecretAndThatIsSaid() async throws {
        try await World.run(on: .sqlite) { world in
            let sandbox = try await world.sandbox()
            #expect(try await webhook(["subscribe"], sandbox, world).status == 0)
            let other = try await webhook(["subscribe", Self.elsewhere], sandbox, world)
            #expect(other.status == 0 && other.output.hasPrefix("CLOUDFLARE_WEBHOOK_SECRET="))
            #expect(!other.output.contains(sandbox.secret))
            #expect(other.error.contains(Self.receiver) && other.error.contains("has changed the secret"))
            let taken = try await webhook(["check"], sandbox, world)
            #expect(taken.status == 1 && taken.error.contains(Self.elsewhere), "\(taken.error)")

            // A URL without a path gets the receiver's.
            let back = try await webhook(["subscribe", Self.publicURL], sandbox, world)
            #expect(back.status == 0 && back.error.contains(Self.receiver), "\(back.error)")
            let unknown = try await webhook(["check"], sandbox, world)
            #expect(unknown.status == 1 && unknown.error.contains("CLOUDFLARE_WEBHOOK_SECRET"), "\(unknown.error)")
            let setting = try #require(back.lines.first)
            let secret = setting.dropFirst("CLOUDFLARE_WEBHOOK_SECRET=".count)
            let both = ["CLOUDFLARE_WEBHOOK_SECRET": "\(secret),\(sandbox.secret)"]
            #expect(try await webhook(["check"], sandbox, world, both).status == 0)
        }
    }

    @Test func refusalsHaveTheirExitCodes() async throws {
        try await World.run(on: .sqlite) { world in
            let sandbox = try await world.sandbox()
            for url in ["nonsense", "ftp://bridge.example.com"] {
                let wrong = try await webhook(["subscribe", url], sandbox, world)
                #expect(wrong.status == 64 && wrong.error.contains(url), "\(wrong.error)")
            }
            for command in ["subscribe", "check"] {
                let nowhere = try await webhook([command], sandbox, world, ["CLIPBRIDGE_PUBLIC_URL": ""])
                #expect(nowhere.status == 78 && nowhere.error.contains("CLIPBRIDGE_PUBLIC_URL"), "\(nowhere.error)")
            }
            for command in ["show", "subscribe", "check"] {
                let refused = try await webhook([command], sandbox, world, ["CLOUDFLARE_API_TOKEN": "wrong"])
                #expect(refused.status == 77 && refused.error.contains("CLOUDFLARE_API_TOKEN"), "\(refused.error)")
                let gone = try await webhook(
                    [command], sandbox, world, ["CLOUDFLARE_API_BASE": "http://127.0.0.1:9/client/v4"])
                #expect(gone.status == 69, "\(gone.error)")
            }
            let serve = try await world.run(["serve", "--reclaim-webhook", "--config", sandbox.settingsFile])
            #expect(serve.status == 78 && serve.error.contains("CLIPBRIDGE_PUBLIC_URL"), "\(serve.error)")
        }
    }

    @Test func bridgeTakesItsSubscriptionAndItsNewSecret() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            _ = try await sandbox.api(.put, "/webhook", ["notificationUrl": .string(Self.elsewhere)])
            let bridge = try await world.serve(
                ["--config", sandbox.settingsFile, "--reclaim-webhook"],
                ["CLIPBRIDGE_PORT": "0", "CLIPBRIDGE_PUBLIC_URL": Self.publicURL])
            try await until("the subscription's return", within: .seconds(180)) {
                try #require(bridge.program.isRunning)
                return bridge.program.error.contains("webhook subscription taken back")
            }
            #expect(bridge.program.error.contains("webhooks go to \(Self.elsewhere)"))
            let shown = try await webhook(["show"], sandbox, world)
            #expect(shown.output.contains(Self.receiver), "\(shown.output)")
            // It has another secret than the one that is set; both are good now.
            try await until("the new secret") {
                bridge.program.error.contains("webhook secret taken over from the subscription")
            }
            let full = try await webhook(["show", "--json", "--show-secret"], sandbox, world)
            let secret = try #require(try JSONValue(parsing: full.output)["secret"]?.stringValue)
            #expect(secret != sandbox.secret && !bridge.program.error.contains(secret))
            for (number, secret) in [secret, sandbox.secret].enumerated() {
                let body = Array(#"{"uid":"clip\#(number)","status":{"state":"queued"}}"#.utf8)
                #expect(try await bridge.deliver(body, secret: secret).status == 200)
            }
            #expect(try await bridge.deliver([], secret: "another").status == 401)
            bridge.program.send(SIGTERM)
            #expect(try await bridge.program.exitCode(within: .seconds(30)) == 0)
        }
    }

    /// Another program subscribed the bridge's own URL anew, by way of another URL.
    @Test func deliveryThatNoSecretFitsHasTheBridgeAskForTheNewOne() async throws {
        try await World.run(on: .sqlite) { world in
            let sandbox = try await world.sandbox()
            #expect(try await webhook(["subscribe"], sandbox, world).status == 0)
            let bridge = try await world.serve(
                ["--config", sandbox.settingsFile],
                ["CLIPBRIDGE_PORT": "0", "CLIPBRIDGE_PUBLIC_URL": Self.publicURL])
            try await until("the first look") {
                try await bridge.get("/metrics").text.contains("clipbridge_webhook_subscribed 1")
            }
            #expect(try await webhook(["subscribe", Self.elsewhere], sandbox, world).status == 0)
            let changed = try await webhook(["subscribe"], sandbox, world)
            let secret = try #require(changed.lines.first?.dropFirst("CLOUDFLARE_WEBHOOK_SECRET=".count))
            let body = Array(#"{"uid":"clip","status":{"state":"queued"}}"#.utf8)
            #expect(try await bridge.deliver(body, secret: String(secret)).status == 401)
            try await until("a delivery that is taken") {
                try await bridge.deliver(body, secret: String(secret)).status == 200
            }
        }
    }
}
