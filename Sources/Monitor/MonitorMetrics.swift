// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Metrics
import NIOConcurrencyHelpers

/// The monitor's counters, made once for each label set and kept.
final class MonitorMetrics: Sendable {
    private let lag = Timer(label: "clipbridge_signal_lag_seconds")
    private let foreign = Gauge(label: "clipbridge_foreign_rows")
    private let counters = NIOLockedValueBox<[[String]: Counter]>([:])
    private let timers = NIOLockedValueBox<[Action: Timer]>([:])

    func count(_ entry: LedgerEntry, lag duration: Duration) {
        let status = if case .status(let status) = entry.signal.request { status.rawValue } else { "other" }
        counter("clipbridge_signals_total", [("status", status), ("outcome", entry.outcome?.rawValue ?? "pending")])
        lag.recordNanoseconds(max(0, duration.wholeMilliseconds) * 1_000_000)
    }

    func count(_ action: Action, _ outcome: ActionOutcome) {
        let word =
            switch outcome {
            case .observed, .reported: "done"
            case .mp4Missing: "mp4_missing"
            case .failed(let failure): failure.isRetryable ? "retryable" : "permanent"
            case .abandoned: "abandoned"
            }
        counter("clipbridge_actions_total", [("action", action.rawValue), ("outcome", word)])
    }

    func time(_ action: Action, _ duration: Duration) {
        let timer = timers.withLockedValue { timers in
            if let timer = timers[action] { return timer }
            let timer = Timer(label: "clipbridge_action_seconds", dimensions: [("action", action.rawValue)])
            timers[action] = timer
            return timer
        }
        timer.recordNanoseconds(max(0, duration.wholeMilliseconds) * 1_000_000)
    }

    func foreignRows(_ count: Int) { foreign.record(count) }

    private func counter(_ label: String, _ dimensions: [(String, String)]) {
        let key = [label] + dimensions.map(\.1)
        let counter = counters.withLockedValue { counters in
            if let counter = counters[key] { return counter }
            let counter = Counter(label: label, dimensions: dimensions)
            counters[key] = counter
            return counter
        }
        counter.increment()
    }
}
