// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Metrics
import NIOConcurrencyHelpers

/// The counters of a process that serves no metrics, added up to be told at its end. Of other metrics nothing is kept.
final class CounterTotals: MetricsFactory {
    private struct Name: Hashable {
        var label: String
        var dimensions: [String: String]
    }

    private final class Adder: CounterHandler {
        let name: Name
        let totals: NIOLockedValueBox<[Name: Int64]>

        init(_ name: Name, _ totals: NIOLockedValueBox<[Name: Int64]>) {
            self.name = name
            self.totals = totals
        }

        func increment(by amount: Int64) { totals.withLockedValue { $0[name, default: 0] += amount } }
        func reset() { totals.withLockedValue { $0[name] = 0 } }
    }

    private let totals = NIOLockedValueBox<[Name: Int64]>([:])

    /// What a counter has come to; 0 for one that was never made.
    func total(_ label: String, _ dimensions: [String: String] = [:]) -> Int64 {
        totals.withLockedValue { $0[Name(label: label, dimensions: dimensions)] ?? 0 }
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        Adder(Name(label: label, dimensions: Dictionary(dimensions) { _, last in last }), totals)
    }

    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        NOOPMetricsHandler.instance
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { NOOPMetricsHandler.instance }

    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}
}
