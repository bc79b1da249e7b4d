// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipStore
package import Metrics

/// The counters and gauges of outgoing webhooks, made once and kept.
package final class OutgoingMetrics: Sendable {
    enum Outcome: String, CaseIterable { case delivered, retried, given = "given_up" }

    private let counters: [[String]: Counter]
    private let pending: [String: Gauge]

    package init(targets: [OutgoingTarget], factory: any MetricsFactory = MetricsSystem.factory) {
        var counters: [[String]: Counter] = [:]
        for kind in OutboxMessage.Kind.allCases {
            for outcome in Outcome.allCases {
                let labels = [("kind", kind.rawValue), ("outcome", outcome.rawValue)]
                counters[labels.map(\.1)] = Counter(
                    label: "clipbridge_notifications_total", dimensions: labels, factory: factory)
            }
        }
        self.counters = counters
        pending = Dictionary(
            targets.map { target in
                let labels = [("kind", target.kind.rawValue), ("host", target.host), ("target", target.id)]
                return (
                    target.id, Gauge(label: "clipbridge_notifications_pending", dimensions: labels, factory: factory)
                )
            }
        ) { first, _ in first }
    }

    func count(_ kind: OutboxMessage.Kind, _ outcome: Outcome) {
        counters[[kind.rawValue, outcome.rawValue]]?.increment()
    }

    func waiting(_ counts: [String: Int]) {
        for (target, gauge) in pending { gauge.record(counts[target] ?? 0) }
    }
}
