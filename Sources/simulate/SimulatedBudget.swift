// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import CloudflareStream
import NIOConcurrencyHelpers

/// The level of the request budget that all replicas share; as a shared store keeps it, it outlives them.
final class BudgetLevel: BudgetLevelKeeper {
    private let clock: MockClock
    private let level = NIOLockedValueBox<RateBudgetMachine.Level?>(nil)

    init(clock: MockClock) { self.clock = clock }

    func withLevel<Value: Sendable>(
        _ body: @Sendable @escaping (inout RateBudgetMachine.Level?, Timestamp) -> Value
    ) async throws -> Value {
        level.withLockedValue { body(&$0, clock.now()) }
    }
}

/// The real budget, or what a broken variant makes of it.
struct SimulatedBudget: RequestBudget {
    let real: SharedRateBudget
    let variant: Variant?

    func acquire(_ priority: RequestPriority) async throws(StreamError) {
        if variant == .ignoreBudget { return }
        try await real.acquire(priority)
    }

    func observe(_ answer: BudgetAnswer) async {
        if variant == .ignoreLimit { return }
        await real.observe(answer)
    }
}
