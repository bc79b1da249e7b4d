// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOConcurrencyHelpers

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

    private let ledger: any DeliveryLedger
    private let clock: any WallClock
    private let timeLimit: Duration
    private let waitingMax: Int
    private let waiting = NIOLockedValueBox(0)

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
        guard enter() else { throw .busy }
        let first = FirstAnswer<Result<DeliveryReceipt, Failure>>()
        // Unstructured on purpose: a store that does not heed cancellation must not keep the sender from its answer,
        // and a sender that hangs up must not undo what is being stored.
        let work = Task {
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
        let timer = Task {
            try await clock.sleep(for: timeLimit)
            first.give(.failure(.timedOut))
            work.cancel()
        }
        let answer = await first.value()
        timer.cancel()
        return try answer.get()
    }

    private func enter() -> Bool {
        waiting.withLockedValue { waiting in
            guard waiting < waitingMax else { return false }
            waiting += 1
            return true
        }
    }

    /// Only when the store is done with it, however long ago the sender was answered.
    private func leave() {
        waiting.withLockedValue { $0 -= 1 }
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
