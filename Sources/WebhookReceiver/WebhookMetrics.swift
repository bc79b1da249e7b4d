// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Metrics
import NIOConcurrencyHelpers

/// Counts what becomes of deliveries; everything is made once, but what has no value before the first delivery.
struct WebhookMetrics: Sendable {
    private let counters: [WebhookAnswer.Label: Counter]
    private let commit: Metrics.Timer
    private let lastAt: FirstUse<Gauge>

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
        lastAt = FirstUse { Gauge(label: "clipbridge_last_webhook_timestamp_seconds", factory: factory) }
        commit = Timer(label: "clipbridge_webhook_commit_seconds", factory: factory)
    }

    func count(_ label: WebhookAnswer.Label) {
        counters[label]?.increment()
    }

    /// - Parameters:
    ///   - duration: from handing the delivery to the store until it was durable.
    ///   - time: of the delivery's arrival.
    func committed(after duration: Duration, at time: Timestamp) {
        lastAt.value.record(time.seconds)
        commit.recordNanoseconds(
            max(duration.components.seconds, 0) * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
        )
    }
}

/// Made when it is first asked for.
private final class FirstUse<Value: Sendable>: Sendable {
    private let make: @Sendable () -> Value
    private let made = NIOLockedValueBox<Value?>(nil)

    init(_ make: @escaping @Sendable () -> Value) { self.make = make }

    var value: Value {
        made.withLockedValue { made in
            if let made { return made }
            let value = make()
            made = value
            return value
        }
    }
}
