// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOConcurrencyHelpers
import NIOCore

/// Keeps a slow or failing store from holding deliveries for ever: it lets a limited number wait, each for a limited
/// time.
final class BoundedLedger: Sendable {
    enum Failure: Error {
        /// As many as may are waiting already.
        case busy
        /// The store has not answered in time; it may still store the delivery.
        case timedOut
        case failed(any Error)
    }

    private typealias Answer = FirstAnswer<Result<DeliveryReceipt, Failure>>

    private struct State {
        /// Deliveries that the store has not done with.
        var waiting = 0
        /// Who waits since when, oldest first; those that were answered stay until they are the oldest.
        var senders: CircularBuffer<(since: Timestamp, answer: Answer)> = []
        var isTiming = false

        mutating func dropAnswered() {
            while let first = senders.first, first.answer.isGiven { senders.removeFirst() }
        }
    }

    private let ledger: any DeliveryLedger
    private let clock: any WallClock
    private let timeLimit: Duration
    private let waitingMax: Int
    private let state = NIOLockedValueBox(State())

    init(ledger: any DeliveryLedger, clock: any WallClock, timeLimit: Duration, waitingMax: Int) {
        self.ledger = ledger
        self.clock = clock
        self.timeLimit = timeLimit
        self.waitingMax = waitingMax
    }

    /// - Parameter onReceipt: runs when the delivery is durable, also when that is later than anybody waited for.
    func record(
        _ delivery: NewDelivery,
        onReceipt: @escaping @Sendable (DeliveryReceipt) -> Void
    ) async throws(Failure) -> DeliveryReceipt {
        let first = Answer()
        let since = clock.now()
        let (isIn, starts) = state.withLockedValue { state in
            guard state.waiting < waitingMax else { return (false, false) }
            state.waiting += 1
            state.dropAnswered()
            state.senders.append((since, first))
            defer { state.isTiming = true }
            return (true, !state.isTiming)
        }
        guard isIn else { throw .busy }
        // Unstructured on purpose: a store that does not heed cancellation must not keep the sender from its answer,
        // and a sender that hangs up must not undo what is being stored.
        Task {
            do {
                let receipt = try await ledger.record(delivery)
                onReceipt(receipt)
                leave()
                first.give(.success(receipt))
            } catch {
                leave()
                first.give(.failure(.failed(error)))
            }
        }
        // One for all: each has the same time.
        if starts { Task { await endWaits() } }
        return try await first.value().get()
    }

    /// Only when the store is done with it, however long ago the sender was answered.
    private func leave() {
        state.withLockedValue { $0.waiting -= 1 }
    }

    private func endWaits() async {
        while let oldest = oldest() {
            // A clock that is set meanwhile makes one wait longer, but not for ever.
            let waited = min(max(clock.now() - oldest.since, .zero), timeLimit)
            do { try await clock.sleep(for: timeLimit - waited) } catch { return }
            oldest.answer.give(.failure(.timedOut))
        }
    }

    private func oldest() -> (since: Timestamp, answer: Answer)? {
        state.withLockedValue { state in
            state.dropAnswered()
            state.isTiming = !state.senders.isEmpty
            return state.senders.first
        }
    }
}

/// Hands the first of several answers to the one who waits; the others are dropped.
private final class FirstAnswer<Value: Sendable>: Sendable {
    private enum State {
        /// Next: `waiting` or `answered`.
        case initial
        /// Next: `done`.
        case waiting(CheckedContinuation<Value, Never>)
        /// Next: `done`.
        case answered(Value)
        case done
    }

    private let state = NIOLockedValueBox(State.initial)

    var isGiven: Bool {
        state.withLockedValue { state in
            switch state {
            case .initial, .waiting: false
            case .answered, .done: true
            }
        }
    }

    func give(_ value: Value) {
        let continuation = state.withLockedValue { state -> CheckedContinuation<Value, Never>? in
            switch state {
            case .initial:
                state = .answered(value)
                return nil
            case .waiting(let continuation):
                state = .done
                return continuation
            case .answered, .done:
                return nil
            }
        }
        continuation?.resume(returning: value)
    }

    /// Waits for the answer; to be called once.
    func value() async -> Value {
        await withCheckedContinuation { continuation in
            let value = state.withLockedValue { state -> Value? in
                switch state {
                case .initial:
                    state = .waiting(continuation)
                    return nil
                case .answered(let value):
                    state = .done
                    return value
                case .waiting, .done:
                    preconditionFailure("a FirstAnswer was waited for twice")
                }
            }
            if let value { continuation.resume(returning: value) }
        }
    }
}
