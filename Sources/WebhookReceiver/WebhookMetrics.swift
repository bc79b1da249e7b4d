// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Metrics

/// Counts what becomes of deliveries; everything is made once, but what has no value before the first delivery.
struct WebhookMetrics: Sendable {
    private let counters: [WebhookAnswer.Label: Counter]
    private let commit: Metrics.Timer
    private let factory: any MetricsFactory

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
        self.factory = factory
        commit = Timer(label: "clipbridge_webhook_commit_seconds", factory: factory)
    }

    func count(_ label: WebhookAnswer.Label) {
        counters[label]?.increment()
    }

    /// - Parameters:
    ///   - duration: from handing the delivery to the store until it was durable.
    ///   - time: of the delivery's arrival.
    func committed(after duration: Duration, at time: Timestamp) {
        // Made again it is the same one.
        Gauge(label: "clipbridge_last_webhook_timestamp_seconds", factory: factory).record(time.seconds)
        commit.recordNanoseconds(
            max(duration.components.seconds, 0) * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
        )
    }
}
