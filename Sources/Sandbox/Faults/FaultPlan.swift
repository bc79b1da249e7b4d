// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers

/// What befalls one request.
struct FaultStrike: Sendable, Equatable {
    var latency: Duration = .zero
    /// The first of the others that strikes.
    var kind: FaultSpec.Kind?
}

/// Decides which requests the faults strike.
///
/// Whether a spec strikes the n-th request of its route depends on the seed, the spec's place and n alone, so a run
/// with the same requests on that route meets the same faults whatever happens on other routes.
final class FaultPlan: Sendable {
    private struct Tally {
        var seen = 0
        var struck = 0
    }

    private let specs: [FaultSpec]
    private let seed: UInt64
    private let tallies: NIOLockedValueBox<[Tally]>

    init(_ specs: [FaultSpec], seed: UInt64) {
        self.specs = specs
        self.seed = seed
        self.tallies = NIOLockedValueBox(specs.map { _ in Tally() })
    }

    func strike(on routes: Set<FaultRoute>) -> FaultStrike {
        tallies.withLockedValue { tallies in
            var strike = FaultStrike()
            for (index, spec) in specs.enumerated() where routes.contains(spec.route) {
                guard isStruck(by: spec, at: index, &tallies[index]) else { continue }
                if case .latency(let delay) = spec.kind {
                    strike.latency += delay
                } else if strike.kind == nil {
                    strike.kind = spec.kind
                }
            }
            return strike
        }
    }

    private func isStruck(by spec: FaultSpec, at index: Int, _ tally: inout Tally) -> Bool {
        tally.seen += 1
        guard tally.seen > spec.skip, tally.struck < spec.count ?? .max else { return false }
        var noise = SplitMix64(state: seed ^ (UInt64(index + 1) << 48) ^ UInt64(tally.seen))
        guard noise.unit() < spec.rate else { return false }
        tally.struck += 1
        return true
    }
}
