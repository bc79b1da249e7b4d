// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import NIOConcurrencyHelpers

/// Says who writes next: SQLite has one writer at a time.
///
/// While many deliveries come in, they go before everything else, and what is decided about them and done for them has
/// a share of the time: a sender can not wait, and a status a moment later is no loss. Without them nothing waits but
/// for its turn.
final class WriterTurns: Sendable {
    /// How often as long as one of the others has written the next one waits, while there are many deliveries.
    private static let restFactor = 9
    /// But no longer: leases want to be renewed, however slow the disk is.
    private static let restMax = Duration.milliseconds(500)
    /// So many deliveries in one commit are many.
    private static let many = 24
    /// So soon after many deliveries there are more.
    private static let afterMany = Duration.milliseconds(10)

    typealias Instant = ContinuousClock.Instant
    private typealias Start = @Sendable () -> Void

    private struct State {
        var isTaken = false
        var deliveries: Start?
        /// The next one is the last.
        var others: [Start] = []
        var manyUntil: Instant?
        var restUntil: Instant?
        var hasTimer = false

        /// Who begins now, or when to look again.
        mutating func next(at now: Instant) -> (Start?, Instant?) {
            guard !isTaken else { return (nil, nil) }
            let isRested = restUntil.map { now >= $0 } ?? true
            let isQuiet = deliveries == nil && (manyUntil.map { now >= $0 } ?? true)
            if !others.isEmpty, isRested || isQuiet {
                isTaken = true
                return (others.removeLast(), nil)
            }
            if let next = deliveries {
                (isTaken, deliveries) = (true, nil)
                return (next, nil)
            }
            guard !others.isEmpty, !hasTimer, let restUntil, let manyUntil else { return (nil, nil) }
            hasTimer = true
            return (nil, min(restUntil, manyUntil))
        }
    }

    private let state = NIOLockedValueBox(State())
    private let now: @Sendable () -> Instant
    private let sleep: @Sendable (_ until: Instant) async -> Void

    init(
        now: @escaping @Sendable () -> Instant = { .now },
        sleep: @escaping @Sendable (_ until: Instant) async -> Void = {
            try? await Task.sleep(until: $0, clock: .continuous)
        }
    ) {
        self.now = now
        self.sleep = sleep
    }

    var othersWaiting: Int { state.withLockedValue { $0.others.count } }
    var haveDeliveriesWaiting: Bool { state.withLockedValue { $0.deliveries != nil } }

    /// Runs `body` when it is the writer's turn.
    func write<Value: Sendable>(_ body: () async throws -> Value) async rethrows -> Value {
        await withCheckedContinuation { continuation in
            state.withLockedValue { $0.others.insert({ continuation.resume() }, at: 0) }
            proceed()
        }
        let start = now()
        defer { end { $0.restUntil = $1 + min(($1 - start) * Self.restFactor, Self.restMax) } }
        return try await body()
    }

    /// Runs `body`, which writes deliveries, when it is its turn, and keeps the thread until then. There is only one at
    /// a time.
    /// - Parameter deliveries: how many were written.
    func write<Value>(deliveries: (Value) -> Int, _ body: () throws -> Value) rethrows -> Value {
        let turn = DispatchSemaphore(value: 0)
        state.withLockedValue { $0.deliveries = { turn.signal() } }
        proceed()
        turn.wait()
        var count = 0
        defer { end { if count >= Self.many { $0.manyUntil = $1 + Self.afterMany } } }
        let value = try body()
        count = deliveries(value)
        return value
    }

    private func end(_ note: (inout State, Instant) -> Void) {
        state.withLockedValue { state in
            state.isTaken = false
            note(&state, now())
        }
        proceed()
    }

    private func proceed() {
        let (next, later) = state.withLockedValue { $0.next(at: now()) }
        next?()
        guard let later else { return }
        Task {
            await sleep(later)
            state.withLockedValue { $0.hasTimer = false }
            proceed()
        }
    }
}
