// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Metrics

/// Counts what becomes of deliveries; everything is made once.
struct WebhookMetrics: Sendable {
    private let counters: [WebhookAnswer.Label: Counter]
    private let commit: Metrics.Timer

    init(factory: any MetricsFactory) {
        counters = Dictionary(
            uniqueKeysWithValues: WebhookAnswer.Label.allCases.map { label in
                let counter = Counter(
                    label: "clipbridge_webhooks_total",
                    dimensions: [("outcome", label.rawValue)],
                    factory: factory
                )
                return (label, counter)
            }
        )
        commit = Timer(label: "clipbridge_webhook_commit_seconds", factory: factory)
    }

    func count(_ label: WebhookAnswer.Label) {
        counters[label]?.increment()
    }

    /// From handing the delivery to the store until it was durable.
    func committed(after duration: Duration) {
        commit.recordNanoseconds(
            max(duration.components.seconds, 0) * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
        )
    }
}
