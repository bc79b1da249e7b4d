// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers
import Sandbox

/// Everything that is left to chance, drawn from a seed.
final class Dice: Sendable {
    private let generator: NIOLockedValueBox<SplitMix64>

    /// - Parameter purpose: sets this stream of numbers apart from others of the same seed.
    init(seed: UInt64, purpose: UInt64) {
        var mixer = SplitMix64(state: seed &* 0x9E37_79B9 &+ purpose)
        _ = mixer.next()
        generator = NIOLockedValueBox(SplitMix64(state: mixer.next()))
    }

    func number() -> UInt64 { generator.withLockedValue { $0.next() } }
    func share() -> Double { Double(number() >> 11) / Double(1 << 53) }
    func chance(_ probability: Double) -> Bool { share() < probability }
    func pick<Value>(_ values: [Value]) -> Value { values[Int(number() % UInt64(values.count))] }

    func int(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(number() % UInt64(range.count)) }

    func duration(_ range: ClosedRange<Double>) -> Duration {
        .milliseconds(Int64((range.lowerBound + share() * (range.upperBound - range.lowerBound)) * 1_000))
    }
}
