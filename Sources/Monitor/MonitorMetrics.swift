// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Metrics
import NIOConcurrencyHelpers

/// The monitor's counters, made once for each label set and kept; those that can be foreseen are made at once, so that
/// they are shown before anything has happened.
final class MonitorMetrics: Sendable {
    private enum Ending: String, CaseIterable {
        case done, retryable, permanent, abandoned
        case mp4Missing = "mp4_missing"

        init(_ outcome: ActionOutcome) {
            self =
                switch outcome {
                case .observed, .reported: .done
                case .mp4Missing: .mp4Missing
                case .failed(let failure): failure.isRetryable ? .retryable : .permanent
                case .abandoned: .abandoned
                }
        }
    }

    /// Of signals that ask for none of our statuses by its word.
    private static let otherStatus = "other"

    private let lag: Timer
    private let foreign: Gauge
    private let timers: [Action: Timer]
    private let counters = NIOLockedValueBox<[[String]: Counter]>([:])
    private let factory: any MetricsFactory

    init(factory: any MetricsFactory = MetricsSystem.factory) {
        self.factory = factory
        lag = Timer(label: "clipbridge_signal_lag_seconds", factory: factory)
        foreign = Gauge(label: "clipbridge_foreign_rows", factory: factory)
        timers = Dictionary(
            uniqueKeysWithValues: Action.allCases.map { action in
                let dimensions = [("action", action.rawValue)]
                return (action, Timer(label: "clipbridge_action_seconds", dimensions: dimensions, factory: factory))
            })
        for status in ClipStatus.allCases.map(\.rawValue) + [Self.otherStatus] {
            for outcome in LedgerEntry.Outcome.allCases { _ = signals(status, outcome.rawValue) }
        }
        for action in Action.allCases {
            for ending in Ending.allCases { _ = actions(action, ending) }
        }
    }

    func count(_ entry: LedgerEntry, lag duration: Duration) {
        let status = if case .status(let status) = entry.signal.request { status.rawValue } else { Self.otherStatus }
        signals(status, entry.outcome?.rawValue ?? "pending").increment()
        lag.recordNanoseconds(max(0, duration.wholeMilliseconds) * 1_000_000)
    }

    func count(_ action: Action, _ outcome: ActionOutcome) {
        actions(action, Ending(outcome)).increment()
    }

    func time(_ action: Action, _ duration: Duration) {
        timers[action]?.recordNanoseconds(max(0, duration.wholeMilliseconds) * 1_000_000)
    }

    func foreignRows(_ count: Int) { foreign.record(count) }

    private func signals(_ status: String, _ outcome: String) -> Counter {
        counter("clipbridge_signals_total", [("status", status), ("outcome", outcome)])
    }

    private func actions(_ action: Action, _ ending: Ending) -> Counter {
        counter("clipbridge_actions_total", [("action", action.rawValue), ("outcome", ending.rawValue)])
    }

    private func counter(_ label: String, _ dimensions: [(String, String)]) -> Counter {
        let key = [label] + dimensions.map(\.1)
        return counters.withLockedValue { counters in
            if let counter = counters[key] { return counter }
            let counter = Counter(label: label, dimensions: dimensions, factory: factory)
            counters[key] = counter
            return counter
        }
    }
}
