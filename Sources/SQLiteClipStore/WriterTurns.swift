// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers

/// Says who writes next: SQLite has one writer at a time.
///
/// While many deliveries come in, they go before everything else, and what is decided about them and done for them has
/// a share of the time: a sender can not wait, and a status a moment later is no loss. Without them nothing waits but
/// for its turn.
final class WriterTurns: Sendable {
    enum Writer: Sendable, Equatable {
        case deliveries
        case other
    }

    /// How often as long as one of the others has written the next one waits, while there are many deliveries.
    private static let restFactor = 5
    /// So many deliveries in one commit are many.
    private static let many = 24
    /// So soon after many deliveries there are more.
    private static let afterMany = Duration.milliseconds(10)

    typealias Instant = ContinuousClock.Instant

    private struct State {
        var isTaken = false
        var deliveries: CheckedContinuation<Void, Never>?
        /// The next one is the last.
        var others: [CheckedContinuation<Void, Never>] = []
        var manyUntil: Instant?
        var restUntil: Instant?
        var hasTimer = false

        /// Who begins now, or when to look again.
        mutating func next(at now: Instant) -> (CheckedContinuation<Void, Never>?, Instant?) {
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

    /// Runs `body` when it is the writer's turn. Of those who write deliveries there is only one at a time.
    /// - Parameter deliveries: how many were written.
    func write<Value: Sendable>(
        as writer: Writer, deliveries: (Value) -> Int = { _ in 0 }, _ body: () async throws -> Value
    ) async rethrows -> Value {
        await withCheckedContinuation { continuation in
            state.withLockedValue { state in
                switch writer {
                case .deliveries: state.deliveries = continuation
                case .other: state.others.insert(continuation, at: 0)
                }
            }
            proceed()
        }
        let start = now()
        do {
            let value = try await body()
            end(writer, start: start, deliveries: deliveries(value))
            return value
        } catch {
            end(writer, start: start, deliveries: 0)
            throw error
        }
    }

    private func end(_ writer: Writer, start: Instant, deliveries count: Int) {
        state.withLockedValue { state in
            let now = now()
            state.isTaken = false
            switch writer {
            case .deliveries: if count >= Self.many { state.manyUntil = now + Self.afterMany }
            case .other: state.restUntil = now + (now - start) * Self.restFactor
            }
        }
        proceed()
    }

    private func proceed() {
        let (next, later) = state.withLockedValue { $0.next(at: now()) }
        next?.resume()
        guard let later else { return }
        Task {
            await sleep(later)
            state.withLockedValue { $0.hasTimer = false }
            proceed()
        }
    }
}
