// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Metrics
import OperatorAPI
import Testing

@Suite struct PrometheusRegistryTests {
    private let registry = PrometheusRegistry(describing: [])

    private func lines(of name: String) -> [Substring] {
        registry.text().split(separator: "\n").filter { $0.hasPrefix(name) }
    }

    @Test func pageIsOrderedByNamesAndLabels() {
        let registry = PrometheusRegistry(describing: [
            MetricFamily("parcels_total", .counter, "Parcels that were brought."),
            MetricFamily("level", .gauge, "How full it is."),
            MetricFamily("lag_seconds", .histogram, "How late they came."),
        ])
        Counter(label: "parcels_total", dimensions: [("to", "b"), ("by", "rail")], factory: registry).increment(by: 2)
        Counter(label: "parcels_total", dimensions: [("by", "air"), ("to", "c")], factory: registry).increment()
        Gauge(label: "level", factory: registry).record(0.5)
        Gauge(label: "depth", factory: registry).record(3)
        #expect(
            registry.text() == """
                # TYPE depth gauge
                depth 3
                # HELP lag_seconds How late they came.
                # TYPE lag_seconds histogram
                # HELP level How full it is.
                # TYPE level gauge
                level 0.5
                # HELP parcels_total Parcels that were brought.
                # TYPE parcels_total counter
                parcels_total{by="air",to="c"} 1
                parcels_total{by="rail",to="b"} 2

                """)
    }

    @Test func bucketsAreCumulative() {
        let timer = Metrics.Timer(label: "run_seconds", dimensions: [("action", "check")], factory: registry)
        // On a bound is within it.
        for nanoseconds in [500_000, 1_000_000, 2_000_000_000, 400_000_000_000] {
            timer.recordNanoseconds(Int64(nanoseconds))
        }
        let buckets: [(bound: String, count: Int)] = [
            ("0.001", 2), ("0.0025", 2), ("0.005", 2), ("0.01", 2), ("0.025", 2), ("0.05", 2), ("0.1", 2),
            ("0.25", 2), ("0.5", 2), ("1", 2), ("2.5", 3), ("5", 3), ("10", 3), ("30", 3), ("60", 3), ("300", 3),
            ("+Inf", 4),
        ]
        var expected = buckets.map { #"run_seconds_bucket{action="check",le="\#($0.bound)"} \#($0.count)"# }
        expected += [#"run_seconds_sum{action="check"} 402.0015"#, #"run_seconds_count{action="check"} 4"#]
        #expect(lines(of: "run_seconds").map { String($0) } == expected)
    }

    @Test func histogramWithoutLabelsHasOnlyBounds() {
        Metrics.Timer(label: "run_seconds", factory: registry).recordNanoseconds(-1)
        #expect(lines(of: "run_seconds_bucket").first == #"run_seconds_bucket{le="0.001"} 1"#)
        #expect(lines(of: "run_seconds_sum") == ["run_seconds_sum 0"])
    }

    @Test func textsAreEscaped() {
        let registry = PrometheusRegistry(describing: [
            MetricFamily("a_total", .counter, "A \"text\" with \\ and\ntwo lines.")
        ])
        Counter(label: "a_total", dimensions: [("what", "\"x\"\\\r\n")], factory: registry).increment()
        #expect(
            registry.text() == "# HELP a_total A \"text\" with \\\\ and\\ntwo lines.\n# TYPE a_total counter\n"
                + "a_total{what=\"\\\"x\\\"\\\\\r\\n\"} 1\n")
    }

    @Test func namesAreMadeOfWhatTheyMayHold() {
        Counter(label: "1st.count-total", dimensions: [("a b", "c d")], factory: registry).increment()
        #expect(lines(of: "_1st") == [#"_1st_count_total{a_b="c d"} 1"#])
    }

    @Test func numbersAreShortAndExact() {
        let gauge = Gauge(label: "level", factory: registry)
        let texts: [(Double, String)] = [
            (0, "0"), (0.1, "0.1"), (9_007_199_254_740_992, "9007199254740992"), (1e300, "1e+300"),
            (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
        ]
        for (value, text) in texts {
            gauge.record(value)
            #expect(lines(of: "level").map { String($0) } == ["level \(text)"])
        }
    }

    @Test func metersGoUpAndDown() {
        let meter = Meter(label: "depth", factory: registry)
        meter.set(5.0)
        meter.increment(by: 2.5)
        meter.decrement(by: 0.5)
        #expect(lines(of: "depth") == ["depth 7"])
    }

    @Test func countersOnlyGrow() {
        let counter = Counter(label: "a_total", factory: registry)
        counter.increment(by: 2)
        counter.increment(by: -1)
        #expect(lines(of: "a_total") == ["a_total 2"])
        counter.increment(by: Int64.max)
        #expect(lines(of: "a_total") == ["a_total \(Int64.max)"])
    }

    @Test func metricMadeAgainGoesOn() {
        Counter(label: "a_total", dimensions: [("x", "1"), ("y", "2")], factory: registry).increment()
        Counter(label: "a_total", dimensions: [("y", "2"), ("x", "1")], factory: registry).increment()
        #expect(lines(of: "a_total") == [#"a_total{x="1",y="2"} 2"#])
    }

    @Test func nameHasOneKind() {
        Counter(label: "a", factory: registry).increment()
        Gauge(label: "a", factory: registry).record(7)
        #expect(registry.text() == "# TYPE a counter\na 1\n")
    }

    @Test func nothingIsLostWhereManyCount() async {
        let registry = registry
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    let timer = Metrics.Timer(label: "run_seconds", factory: registry)
                    for number in 0..<1_000 {
                        let half = [("half", "\((task + number) % 2)")]
                        Counter(label: "hits_total", dimensions: half, factory: registry).increment()
                        timer.recordNanoseconds(1_000_000_000)
                    }
                }
            }
        }
        #expect(lines(of: "hits_total") == [#"hits_total{half="0"} 4000"#, #"hits_total{half="1"} 4000"#])
        #expect(lines(of: "run_seconds_count") == ["run_seconds_count 8000"])
        #expect(lines(of: "run_seconds_sum") == ["run_seconds_sum 8000"])
    }

    @Test func tooManyLabelsAreKeptTogether() {
        for number in 0..<1_500 {
            Counter(label: "a_total", dimensions: [("number", "\(number)")], factory: registry).increment()
        }
        #expect(lines(of: "a_total").count == 1_001)
        #expect(lines(of: "a_total").contains(#"a_total{number="other"} 500"#))
    }
}
