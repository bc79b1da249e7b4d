// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import CloudflareStream
import NIOConcurrencyHelpers
import Testing

/// Several processes on one budget, each with a clock of its own that need not be right.
@Suite struct SharedRateBudgetTests {
    /// A store's level and clock.
    private final class Keeper: BudgetLevelKeeper {
        struct Away: Error {}

        let level = NIOLockedValueBox<RateBudgetMachine.Level?>(nil)
        let isAway = NIOLockedValueBox(false)
        let now = Timestamp(seconds: 1_800_000_000)

        func withLevel<Value: Sendable>(
            _ body: @Sendable @escaping (inout RateBudgetMachine.Level?, Timestamp) -> Value
        ) async throws -> Value {
            if isAway.withLockedValue({ $0 }) { throw Away() }
            return level.withLockedValue { level in
                // As a transaction that is run a second time.
                var discarded = level
                _ = body(&discarded, now)
                return body(&level, now)
            }
        }
    }

    private let keeper = Keeper()

    private func budget(_ limits: RateBudgetMachine.Limits = .cloudflare, hoursAhead: Int64 = 0) -> SharedRateBudget {
        SharedRateBudget(
            keeper: keeper, limits: limits, clock: MockClock(now: keeper.now + .seconds(hoursAhead * 3_600)))
    }

    @Test func processesTogetherTakeNoMoreThanOneWould() async throws {
        var limits = RateBudgetMachine.Limits.cloudflare
        limits.waitMax = .zero
        let budgets = [budget(limits), budget(limits, hoursAhead: 5), budget(limits, hoursAhead: -5)]
        var granted = 0
        for number in 0..<400 {
            do {
                try await budgets[number % 3].acquire(.move)
                granted += 1
            } catch {
                #expect(error.code == .budget && error.isRetryable)
            }
        }
        // The burst of one.
        #expect(granted == 192)
    }

    @Test func pauseThatOneIsToldHoldsForAll() async throws {
        let (one, other) = (budget(), budget(hoursAhead: 1))
        try await one.acquire(.move)
        await one.observe(BudgetAnswer(isLimited: true, retryAfter: .seconds(120)))
        let error = await #expect(throws: StreamError.self) { try await other.acquire(.move) }
        #expect(error?.retryAfter == .seconds(120))
    }

    @Test func levelThatCanNotBeReadIsAPassingFailure() async throws {
        let budget = budget()
        keeper.isAway.withLockedValue { $0 = true }
        let error = await #expect(throws: StreamError.self) { try await budget.acquire(.move) }
        #expect(error?.isRetryable == true)
        keeper.isAway.withLockedValue { $0 = false }
        try await budget.acquire(.move)
    }
}
