// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// All targets together: a limited number of messages on their way, of which no single target may have all.
struct SendingPlan: Sendable {
    static let runningMax = 8
    private static let shareMax = 4

    private(set) var machines: [String: TargetMachine]
    private let order: [String]
    private(set) var isClosed = false

    init(targets: [String]) {
        order = targets
        let share = targets.count > 1 ? Self.shareMax : Self.runningMax
        machines = Dictionary(targets.map { ($0, TargetMachine(runningMax: share)) }) { first, _ in first }
    }

    var running: Int { machines.values.reduce(0) { $0 + $1.running } }

    /// How many messages may be started to each target, those with the fewest on their way first.
    func openings(at now: Timestamp) -> [(target: String, count: Int)] {
        if isClosed { return [] }
        var left = Self.runningMax - running
        var found: [(target: String, count: Int)] = []
        for target in order.sorted(by: { running(to: $0) < running(to: $1) }) {
            let count = min(machines[target]?.openings(at: now) ?? 0, left)
            guard count > 0 else { continue }
            found.append((target, count))
            left -= count
        }
        return found
    }

    private func running(to target: String) -> Int { machines[target]?.running ?? 0 }

    /// When the next pause ends that has not ended yet.
    func nextPauseEnd(after now: Timestamp) -> Timestamp? {
        machines.values.compactMap(\.pausesUntil).filter { $0 > now }.min()
    }

    mutating func started(_ target: String) { machines[target]?.started() }

    mutating func ended(
        _ target: String, _ answer: TargetMachine.Answer, at now: Timestamp, jitter: Double
    ) -> TargetMachine.News? {
        machines[target]?.ended(answer, at: now, jitter: jitter)
    }

    /// Nothing more is started.
    mutating func close() { isClosed = true }
}
