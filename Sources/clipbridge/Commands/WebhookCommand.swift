// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import CloudflareStream

struct WebhookCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "webhook", abstract: "Shows, sets and checks the account's one webhook subscription.",
        subcommands: [Show.self, Subscribe.self, Check.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the subscription; exit code 1 when there is none.")

        @Flag(help: "Print JSON.") var json = false
        @Flag(help: "Print the secret too.") var showSecret = false
        @OptionGroup var options: SettingsOptions

        func run() async throws {
            let settings = try options.load()
            guard let webhook = try await settings.streamClient().webhook() else {
                throw CommandFailure(.failed, "no webhook is subscribed: run clipbridge webhook subscribe")
            }
            if json { return showJSON(webhook) }
            Terminal.output("url: \(webhook.notificationURL)")
            Terminal.output("modified: \(webhook.modified?.rfc3339 ?? "-")")
            Terminal.output("secret: \(words(webhook.secret, settings))")
        }

        private func words(_ secret: String?, _ settings: Settings) -> String {
            guard let secret else { return "not told by Cloudflare" }
            if showSecret { return secret }
            return settings.webhookSecrets.contains(secret)
                ? "known, and in CLOUDFLARE_WEBHOOK_SECRET" : "known, but not in CLOUDFLARE_WEBHOOK_SECRET"
        }

        private func showJSON(_ webhook: StreamWebhook) {
            var members: [String: JSONValue] = [
                "notificationUrl": .string(webhook.notificationURL),
                "modified": webhook.modified.map { JSONValue.string($0.rfc3339) } ?? .null,
                "secretKnown": .bool(webhook.secret != nil),
            ]
            if showSecret { members["secret"] = webhook.secret.map(JSONValue.string) ?? .null }
            Terminal.output(JSONText.line(.object(members)))
        }
    }

    struct Subscribe: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Subscribes a URL in the place of what is subscribed, and prints the secret as a setting.",
            discussion: "An account has one subscription. A changed URL changes the secret; the same URL is left as "
                + "it is.")

        @Argument(
            help: "The receiver's URL; one without a path gets the receiver's (default: from CLIPBRIDGE_PUBLIC_URL).")
        var url: String?
        @OptionGroup var options: SettingsOptions

        func validate() throws {
            if let url { _ = try receiverURL(url) }
        }

        func run() async throws {
            let settings = try options.load()
            let target = try wanted(settings)
            let client = try settings.streamClient()
            let present = try await client.webhook()
            if let present, target.isURL(of: present) {
                Terminal.error("subscribed already: \(present.notificationURL)")
                return try tell(present, target)
            }
            let webhook = try await client.subscribeWebhook(target.url)
            let replaced = present.map { ", in the place of \($0.notificationURL)" } ?? ""
            Terminal.error("subscribed: \(webhook.notificationURL)\(replaced)")
            try tell(webhook, target)
        }

        private func wanted(_ settings: Settings) throws -> WebhookTarget {
            guard let url else { return try settings.neededWebhookTarget() }
            return WebhookTarget(url: try receiverURL(url), secrets: settings.webhookSecrets)
        }

        private func tell(_ webhook: StreamWebhook, _ target: WebhookTarget) throws {
            guard let secret = webhook.secret else {
                throw CommandFailure(
                    .failed, "Cloudflare did not tell the secret: try clipbridge webhook show --show-secret")
            }
            Terminal.output("CLOUDFLARE_WEBHOOK_SECRET=\(secret)")
            Terminal.error(
                target.hasSecret(of: webhook)
                    ? "this secret is set already"
                    : "set this secret where the bridge runs, before the old one with a comma, and restart it: a "
                        + "changed URL has changed the secret, and webhooks signed with one that is not set are refused"
            )
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compares the subscription with CLIPBRIDGE_PUBLIC_URL and CLOUDFLARE_WEBHOOK_SECRET.",
            discussion: "Exit code 0 when both agree, 1 when not.")

        @OptionGroup var options: SettingsOptions

        func run() async throws {
            let settings = try options.load()
            let target = try settings.neededWebhookTarget()
            let webhook = try await settings.streamClient().webhook()
            if let complaint = target.complaint(about: webhook) { throw CommandFailure(.failed, complaint) }
            Terminal.output("ok  webhooks go to \(target.url), signed with a secret that is set")
        }
    }
}
