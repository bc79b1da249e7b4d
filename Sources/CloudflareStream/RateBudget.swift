// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
package import Metrics
import NIOConcurrencyHelpers

/// Where a request to Cloudflare's API gets its leave from. One budget stands for one account user; a store can keep
/// it for several processes.
package protocol RequestBudget: Sendable {
    /// Returns when the request may be sent. Throws `.budget`, with the time to come back, rather than hold its caller
    /// for long, and `.cancelled` when the task is cancelled.
    func acquire(_ priority: RequestPriority) async throws(StreamError)

    /// Learns from an answer.
    func observe(_ answer: BudgetAnswer) async
}

/// What of an answer concerns the budget.
package struct BudgetAnswer: Sendable, Equatable {
    /// From `Ratelimit`.
    package var hint: RateLimitHint?
    /// The answer was 429.
    package var isLimited: Bool
    /// From `Retry-After`.
    package var retryAfter: Duration?

    package init(hint: RateLimitHint? = nil, isLimited: Bool = false, retryAfter: Duration? = nil) {
        self.hint = hint
        self.isLimited = isLimited
        self.retryAfter = retryAfter
    }
}

/// Keeps the level of a budget for whoever shares it.
package protocol BudgetLevelKeeper: Sendable {
    /// Runs `body` on the level, which nobody else can change meanwhile, by the time that all go by. Nil before anybody
    /// has asked for anything.
    func withLevel<Value: Sendable>(
        _ body: @Sendable @escaping (inout RateBudgetMachine.Level?, Timestamp) -> Value
    ) async throws -> Value
}

/// The budget of a single process.
package final class RateBudget: RequestBudget {
    private let budget: SharedRateBudget

    package init(
        limits: RateBudgetMachine.Limits = .cloudflare,
        clock: any WallClock = SystemWallClock(),
        metrics: any MetricsFactory = MetricsSystem.factory
    ) {
        budget = SharedRateBudget(
            keeper: LevelInMemory(clock: clock), limits: limits, clock: clock, metrics: metrics)
    }

    package func acquire(_ priority: RequestPriority) async throws(StreamError) {
        try await budget.acquire(priority)
    }

    package func observe(_ answer: BudgetAnswer) async { await budget.observe(answer) }
}

private final class LevelInMemory: BudgetLevelKeeper {
    private let clock: any WallClock
    private let level = NIOLockedValueBox<RateBudgetMachine.Level?>(nil)

    init(clock: any WallClock) { self.clock = clock }

    func withLevel<Value: Sendable>(
        _ body: @Sendable @escaping (inout RateBudgetMachine.Level?, Timestamp) -> Value
    ) async throws -> Value {
        level.withLockedValue { body(&$0, clock.now()) }
    }
}

/// One budget over all that share its level. Who waits, waits in a process of its own and asks again; what it may take
/// then is decided on the level that all see.
package final class SharedRateBudget: RequestBudget {
    private let keeper: any BudgetLevelKeeper
    private let machine: NIOLockedValueBox<RateBudgetMachine>
    /// Where nobody has asked for anything yet.
    private let untouched: RateBudgetMachine.Level
    private let clock: any WallClock
    private let gauge: Gauge

    package init(
        keeper: any BudgetLevelKeeper,
        limits: RateBudgetMachine.Limits = .cloudflare,
        clock: any WallClock = SystemWallClock(),
        metrics: any MetricsFactory = MetricsSystem.factory
    ) {
        self.keeper = keeper
        let machine = RateBudgetMachine(limits: limits, now: clock.now())
        self.machine = NIOLockedValueBox(machine)
        self.untouched = machine.level
        self.clock = clock
        self.gauge = Gauge(label: "clipbridge_cloudflare_budget_remaining", factory: metrics)
        gauge.record(Int(limits.burst))
    }

    package func acquire(_ priority: RequestPriority) async throws(StreamError) {
        guard !Task.isCancelled else { throw .cancelled(nil) }
        let ticket = machine.withLockedValue { $0.ticket(priority) }
        do throws(StreamError) {
            while true {
                let (decision, now) = try await shared { ($0.decide(ticket, now: $1), $1) }
                switch decision {
                case .go:
                    return
                case .refuse(let retryAfter):
                    throw Self.refusal(retryAfter)
                case .wait(let until):
                    do {
                        // For as long as the clock says by which it was decided, which need not be this machine's.
                        try await clock.sleep(for: max(until - now, .milliseconds(1)))
                    } catch {
                        throw .cancelled(nil)
                    }
                }
            }
        } catch {
            machine.withLockedValue { $0.withdraw(ticket) }
            throw error
        }
    }

    package func observe(_ answer: BudgetAnswer) async {
        guard answer.hint != nil || answer.isLimited else { return }
        // An answer that could not be told to the others is told by the next one, or by their own.
        try? await shared { machine, now in
            if let hint = answer.hint { machine.observe(hint, now: now) }
            if answer.isLimited { machine.observeLimit(retryAfter: answer.retryAfter, now: now) }
        }
    }

    /// Runs `body` on the machine at the level that all share; more than once where a transaction has to be run again.
    /// Requests that could go now are set into the gauge, which stands still while nothing is asked for.
    private func shared<Value: Sendable>(
        _ body: @Sendable @escaping (inout RateBudgetMachine, Timestamp) -> Value
    ) async throws(StreamError) -> Value {
        do {
            return try await keeper.withLevel { [machine, gauge, untouched] level, now in
                machine.withLockedValue { machine in
                    machine.level = level ?? untouched
                    let value = body(&machine, now)
                    gauge.record(machine.remaining(now: now))
                    level = machine.level
                    return value
                }
            }
        } catch is CancellationError {
            throw .cancelled(nil)
        } catch {
            throw StreamError(
                code: .budget, message: "the request limit that replicas share can not be read: \(error)",
                isRetryable: true, retryAfter: .seconds(1))
        }
    }

    private static func refusal(_ retryAfter: Duration) -> StreamError {
        StreamError(
            code: .budget,
            message: "the share of Cloudflare's request limit that the bridge may use is spent; next request in "
                + "\(Int(retryAfter.inSeconds.rounded(.up))) s",
            isRetryable: true,
            retryAfter: retryAfter
        )
    }
}
