// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CloudflareStream
import Logging
import Metrics
import ServiceLifecycle
import WebhookReceiver

/// Looks now and then whether the account's one webhook subscription still is this bridge's: whoever subscribes last
/// has it, and the others are not told. A secret that has changed with it is taken over.
struct SubscriptionWatch: Service {
    private static let delay = Duration.seconds(1)
    private static let interval = Duration.seconds(600)

    /// Between two looks that deliveries with a wrong signature ask for: anybody can send those.
    private static let hintInterval = Duration.seconds(60)

    let target: WebhookTarget
    let stream: StreamClient
    /// Subscribes anew when the subscription is another's.
    let reclaims: Bool
    let logger: Logger
    let secrets: WebhookSecrets
    /// Each tells of a delivery that no secret fits.
    let mismatches: AsyncStream<Void>
    let gauge = Gauge(label: "clipbridge_webhook_subscribed")

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask {
                    try? await Task.sleep(for: Self.delay)
                    while !Task.isCancelled {
                        await look()
                        try? await Task.sleep(for: Self.interval)
                    }
                }
                group.addTask {
                    for await _ in mismatches {
                        await look()
                        try? await Task.sleep(for: Self.hintInterval)
                    }
                }
            }
        }
    }

    private func look() async {
        do throws(StreamError) {
            var webhook = try await stream.webhook()
            judge(webhook)
            guard reclaims, !target.isURL(of: webhook) else { return }
            webhook = try await stream.subscribeWebhook(target.url)
            logger.warning("webhook subscription taken back", metadata: ["webhook.url": "\(target.url)"])
            judge(webhook)
        } catch {
            // The next turn comes; clips tell by themselves what is wrong with the token.
            logger.debug("webhook subscription was not looked at", metadata: ["error": "\(error)"])
        }
    }

    private func judge(_ webhook: StreamWebhook?) {
        gauge.record(target.isURL(of: webhook) ? 1 : 0)
        if target.isURL(of: webhook), !target.hasSecret(of: webhook), let secret = webhook?.secret {
            guard secrets.accept(secret) else { return }
            logger.warning(
                "webhook secret taken over from the subscription: set it in CLOUDFLARE_WEBHOOK_SECRET",
                metadata: ["webhook.url": "\(target.url)"])
            return
        }
        guard let complaint = target.complaint(about: webhook) else { return }
        logger.warning("webhook subscription does not match the settings", metadata: ["reason": "\(complaint)"])
    }
}
