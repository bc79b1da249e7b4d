// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Metrics
import NIOConcurrencyHelpers

/// What is kept of a metric for one set of labels.
protocol MetricCell: AnyObject, Sendable {
    static var kind: MetricFamily.Kind { get }
    init()
    func samples(_ labels: LabelSet) -> [MetricSample]
}

/// Only ever grows.
final class CounterCell: MetricCell, CounterHandler {
    static let kind = MetricFamily.Kind.counter

    private let total = NIOLockedValueBox<Int64>(0)

    func increment(by amount: Int64) {
        guard amount > 0 else { return }
        total.withLockedValue { total in
            let (sum, isOver) = total.addingReportingOverflow(amount)
            total = isOver ? .max : sum
        }
    }

    func reset() { total.withLockedValue { $0 = 0 } }

    func samples(_ labels: LabelSet) -> [MetricSample] {
        let total = self.total.withLockedValue { $0 }
        return [MetricSample(labels, String(total))]
    }
}

/// Shows the last value that it was given.
final class GaugeCell: MetricCell, RecorderHandler, MeterHandler {
    static let kind = MetricFamily.Kind.gauge

    private let value = NIOLockedValueBox<Double>(0)

    func record(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }
    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { self.value.withLockedValue { $0 = value } }
    func increment(by amount: Double) { value.withLockedValue { $0 += amount } }
    func decrement(by amount: Double) { value.withLockedValue { $0 -= amount } }

    func samples(_ labels: LabelSet) -> [MetricSample] {
        let value = self.value.withLockedValue { $0 }
        return [MetricSample(labels, MetricText.number(value))]
    }
}

/// Sorts durations into buckets.
final class HistogramCell: MetricCell, TimerHandler {
    static let kind = MetricFamily.Kind.histogram

    /// The buckets' upper bounds in seconds: from a commit's duration to a transfer's.
    private static let bounds: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
    ]
    private static let boundsNanoseconds = bounds.map { Int64(($0 * 1e9).rounded()) }

    private struct State: Sendable {
        /// How many are in each bucket and in none before it; the last bucket has no bound.
        var counts: [UInt64]
        /// Whole numbers up to 104 days, then rounded, and never too large to be added to.
        var nanoseconds: Double
    }

    private let state = NIOLockedValueBox(
        State(counts: Array(repeating: 0, count: HistogramCell.bounds.count + 1), nanoseconds: 0))

    func recordNanoseconds(_ duration: Int64) {
        let duration = max(duration, 0)
        let bucket = Self.boundsNanoseconds.firstIndex { duration <= $0 } ?? Self.bounds.count
        state.withLockedValue { state in
            state.counts[bucket] += 1
            state.nanoseconds += Double(duration)
        }
    }

    func samples(_ labels: LabelSet) -> [MetricSample] {
        let state = self.state.withLockedValue { $0 }
        var samples: [MetricSample] = []
        var total: UInt64 = 0
        for (bound, count) in zip(Self.bounds + [.infinity], state.counts) {
            total += count
            let labels = labels.adding("le", MetricText.number(bound))
            samples.append(MetricSample(labels, String(total), suffix: "_bucket"))
        }
        samples.append(MetricSample(labels, MetricText.number(state.nanoseconds / 1e9), suffix: "_sum"))
        samples.append(MetricSample(labels, String(total), suffix: "_count"))
        return samples
    }
}
