// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Bytes a second that any number of transfers share: a token bucket whose credit may fall below nothing.
///
/// Transfers may move bytes while there is credit. What they move at once is counted only afterwards, so a round may
/// overdraw; the debt is then waited off before the next. So the sum keeps to the rate whatever the number of transfers
/// and the size of their buffers, a transfer that is ready to move takes its turn in every round, and what one does
/// not use is there for the others without anybody measuring shares.
struct BandwidthBudget: Sendable {
    /// Credit that an idle time leaves, as time at the full rate: enough to make good for a thread that wakes up late.
    static let burstSeconds = 0.1

    let bytesPerSecond: UInt64
    private var credit: Double
    private var filledAt: ContinuousClock.Instant

    init(bytesPerSecond: UInt64, at now: ContinuousClock.Instant) {
        self.bytesPerSecond = max(1, bytesPerSecond)
        credit = Double(self.bytesPerSecond) * Self.burstSeconds
        filledAt = now
    }

    mutating func fill(at now: ContinuousClock.Instant) {
        credit = credit(at: now)
        filledAt = max(filledAt, now)
    }

    mutating func spend(_ bytes: Int) {
        credit -= Double(bytes)
    }

    /// As of the last filling.
    var isOpen: Bool { credit > 0 }

    /// How long there is no credit from `now` on.
    func opens(after now: ContinuousClock.Instant) -> Duration {
        .seconds(max(0, -credit(at: now) / Double(bytesPerSecond)))
    }

    private func credit(at now: ContinuousClock.Instant) -> Double {
        let rate = Double(bytesPerSecond)
        let earned = max(0, (now - filledAt) / .seconds(1)) * rate
        return min(credit + earned, rate * Self.burstSeconds)
    }
}
