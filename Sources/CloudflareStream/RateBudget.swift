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

/// The budget of a single process.
package final class RateBudget: RequestBudget {
    private let machine: NIOLockedValueBox<RateBudgetMachine>
    private let clock: any WallClock
    private let gauge: Gauge

    package init(
        limits: RateBudgetMachine.Limits = .cloudflare,
        clock: any WallClock = SystemWallClock(),
        metrics: any MetricsFactory = MetricsSystem.factory
    ) {
        let machine = RateBudgetMachine(limits: limits, now: clock.now())
        self.machine = NIOLockedValueBox(machine)
        self.clock = clock
        self.gauge = Gauge(label: "clipbridge_cloudflare_budget_remaining", factory: metrics)
        gauge.record(Int(limits.burst))
    }

    package func acquire(_ priority: RequestPriority) async throws(StreamError) {
        guard !Task.isCancelled else { throw .cancelled(nil) }
        var (decision, ticket) = machine.withLockedValue { $0.ask(priority, now: clock.now()) }
        while true {
            switch decision {
            case .go:
                record()
                return
            case .refuse(let retryAfter):
                record()
                throw Self.refusal(retryAfter)
            case .wait(let until):
                do {
                    try await clock.sleep(for: max(until - clock.now(), .milliseconds(1)))
                } catch {
                    machine.withLockedValue { $0.withdraw(ticket) }
                    throw .cancelled(nil)
                }
                decision = machine.withLockedValue { $0.again(ticket, now: clock.now()) }
            }
        }
    }

    package func observe(_ answer: BudgetAnswer) async {
        let now = clock.now()
        machine.withLockedValue { machine in
            if let hint = answer.hint { machine.observe(hint, now: now) }
            if answer.isLimited { machine.observeLimit(retryAfter: answer.retryAfter, now: now) }
        }
        record()
    }

    /// Requests that could go now; also set into the gauge, which stands still while nothing is asked for.
    @discardableResult
    package func record() -> Int {
        let remaining = machine.withLockedValue { $0.remaining(now: clock.now()) }
        gauge.record(remaining)
        return remaining
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
