// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CloudflareStream
import Foundation
import WebhookReceiver

/// Where Cloudflare should send webhooks, and the secrets that are known here for them.
struct WebhookTarget: Sendable {
    var url: String
    var secrets: [String]

    func isURL(of webhook: StreamWebhook?) -> Bool {
        webhook.map { Self.normal($0.notificationURL) == Self.normal(url) } ?? false
    }

    func hasSecret(of webhook: StreamWebhook?) -> Bool {
        webhook?.secret.map { secrets.contains($0) } ?? false
    }

    /// What is wrong with the account's subscription; nil when its URL and its secret are these.
    func complaint(about webhook: StreamWebhook?) -> String? {
        guard let webhook else {
            return "no webhook is subscribed: run clipbridge webhook subscribe"
        }
        guard isURL(of: webhook) else {
            return "webhooks go to \(webhook.notificationURL), and not to \(url) as CLIPBRIDGE_PUBLIC_URL says: run "
                + "clipbridge webhook subscribe"
        }
        guard webhook.secret != nil else {
            return "Cloudflare does not tell the subscription's secret, so it can not be compared with "
                + "CLOUDFLARE_WEBHOOK_SECRET"
        }
        guard hasSecret(of: webhook) else {
            return "the subscription's secret is not in CLOUDFLARE_WEBHOOK_SECRET, so its webhooks will be refused: "
                + "clipbridge webhook show --show-secret prints it"
        }
        return nil
    }

    /// Spellings of one URL are one URL: to replace one by another could cost the secret.
    private static func normal(_ text: String) -> String {
        guard var parts = URLComponents(string: text) else { return text }
        parts.scheme = parts.scheme?.lowercased()
        parts.host = parts.host?.lowercased()
        if parts.port == (parts.scheme == "https" ? 443 : 80) { parts.port = nil }
        if parts.path.hasSuffix("/") { parts.path.removeLast() }
        return parts.string ?? text
    }
}

extension Settings {
    /// The receiver as Cloudflare sees it; nil without a public URL.
    var webhookTarget: WebhookTarget? {
        publicURL.map { url in
            WebhookTarget(
                url: url.hasSuffix(WebhookReceiver.path) ? url : url + WebhookReceiver.path, secrets: webhookSecrets)
        }
    }

    func neededWebhookTarget() throws(SettingsError) -> WebhookTarget {
        guard let webhookTarget else {
            throw SettingsError(
                SettingName.publicURL.rawValue, "is not set, and it is needed",
                accepts: SettingName.publicURL.definition.meaning)
        }
        return webhookTarget
    }
}
