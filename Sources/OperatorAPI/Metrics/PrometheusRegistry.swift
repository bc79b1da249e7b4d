// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import Metrics
import NIOConcurrencyHelpers

/// Keeps what the process counts and times, and shows it as Prometheus reads it.
///
/// Whoever makes a metric of the same name and labels again goes on with the same one, so nothing is removed; what
/// is kept is bounded by the names, which are all written in the code, and by a limit of label sets for each.
package final class PrometheusRegistry: MetricsFactory {
    private struct Entry: Sendable {
        /// Without samples.
        var family: MetricFamily
        var cells: [LabelSet: any MetricCell] = [:]

        var snapshot: MetricFamily {
            var family = family
            family.samples = cells.sorted { $0.key.text < $1.key.text }.flatMap { $0.value.samples($0.key) }
            return family
        }
    }

    /// More than any metric of ours has; what comes on top is kept together, so that sums stay right.
    private static let cellsMax = 1_000
    private static let labelBeyond = "other"

    private let entries: NIOLockedValueBox<[String: Entry]>

    /// - Parameter families: are shown from the start, with their descriptions.
    package init(describing families: [MetricFamily] = MetricFamily.counted) {
        let described = families.map { ($0.name, Entry(family: $0)) }
        entries = NIOLockedValueBox(Dictionary(described) { first, _ in first })
    }

    /// The page in text exposition format 0.0.4, in the order of names.
    /// - Parameter readings: metrics that are read for this page; they go before what was counted under their names.
    package func text(with readings: [MetricFamily] = []) -> String {
        let counted = entries.withLockedValue { Array($0.values) }.map { $0.snapshot }
        let families = Dictionary((readings + counted).map { ($0.name, $0) }) { first, _ in first }
        return families.values.sorted { $0.name < $1.name }.map { $0.text }.joined()
    }

    /// A counter or gauge, its label sets taken together; nil where nothing was counted or set under the name.
    func total(of name: String) -> Double? {
        let cells = entries.withLockedValue { entries in
            entries[name].map { $0.family.kind == .histogram ? [] : Array($0.cells.values) } ?? []
        }
        return cells.isEmpty
            ? nil : cells.flatMap { $0.samples(LabelSet()) }.compactMap { Double($0.value) }.reduce(0, +)
    }

    /// The mean of a histogram's durations in seconds, over all its labels; nil before the first.
    func mean(of name: String) -> Double? {
        let samples = entries.withLockedValue { $0[name] }?.snapshot.samples ?? []
        func sum(_ suffix: String) -> Double {
            samples.filter { $0.suffix == suffix }.compactMap { Double($0.value) }.reduce(0, +)
        }
        return sum("_count") > 0 ? sum("_sum") / sum("_count") : nil
    }

    /// Nil where the name is one of another kind of metric.
    private func cell<Cell: MetricCell>(_ label: String, _ dimensions: [(String, String)]) -> Cell? {
        let name = MetricText.name(label)
        return entries.withLockedValue { entries -> Cell? in
            var entry = entries[name] ?? Entry(family: MetricFamily(name, Cell.kind, nil))
            guard entry.family.kind == Cell.kind else { return nil }
            var labels = LabelSet(dimensions)
            if entry.cells[labels] == nil, entry.cells.count >= Self.cellsMax {
                labels = LabelSet(dimensions.map { ($0.0, Self.labelBeyond) })
            }
            if let known = entry.cells[labels] { return known as? Cell }
            let made = Cell()
            entry.cells[labels] = made
            entries[name] = entry
            return made
        }
    }

    // MARK: MetricsFactory

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        guard let counter: CounterCell = cell(label, dimensions) else { return NOOPMetricsHandler.instance }
        return counter
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        guard let gauge: GaugeCell = cell(label, dimensions) else { return NOOPMetricsHandler.instance }
        return gauge
    }

    /// A gauge. Distributions of anything but durations are not kept: nothing here records any.
    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        guard !aggregate, let gauge: GaugeCell = cell(label, dimensions) else { return NOOPMetricsHandler.instance }
        return gauge
    }

    /// A histogram in seconds, of a timer whose name says so; others are not kept.
    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        guard label.hasSuffix("_seconds"), let histogram: HistogramCell = cell(label, dimensions) else {
            return NOOPMetricsHandler.instance
        }
        return histogram
    }

    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyMeter(_ handler: any MeterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}
}
