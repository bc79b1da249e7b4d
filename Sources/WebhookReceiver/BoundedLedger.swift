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

    typealias OnAnswer = @Sendable (Result<DeliveryReceipt, Failure>) -> Void

    private struct State {
        /// Deliveries that the store has not done with.
        var waiting = 0
        /// Who waits since when, oldest first; those that were answered stay until they are the oldest.
        var senders: CircularBuffer<(since: Timestamp, answer: FirstAnswer)> = []
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

    /// - Parameters:
    ///   - onReceipt: runs when the delivery is durable, also when that is later than anybody waited for.
    ///   - onAnswer: runs once, on any thread, when it is known what to tell the sender.
    func record(
        _ delivery: NewDelivery,
        onReceipt: @escaping @Sendable (DeliveryReceipt) -> Void,
        onAnswer: @escaping OnAnswer
    ) {
        let first = FirstAnswer(onAnswer)
        let since = clock.now()
        let (isIn, starts) = state.withLockedValue { state in
            guard state.waiting < waitingMax else { return (false, false) }
            state.waiting += 1
            state.dropAnswered()
            state.senders.append((since, first))
            defer { state.isTiming = true }
            return (true, !state.isTiming)
        }
        guard isIn else { return onAnswer(.failure(.busy)) }
        ledger.record(delivery) { [self] result in
            if case .success(let receipt) = result { onReceipt(receipt) }
            leave()
            first.give(result.mapError { .failed($0) })
        }
        // One for all: each has the same time.
        if starts { Task { await endWaits() } }
    }

    /// Only when the store is done with it, however long ago the sender was answered.
    private func leave() {
        state.withLockedValue { $0.waiting -= 1 }
    }

    private func endWaits() async {
        while let oldest = oldest() {
            // If the clock was set back meanwhile, nobody knows for how long, and it is enough.
            let apart = clock.now() - oldest.since
            let waited = (.zero...timeLimit).contains(apart) ? apart : timeLimit
            do { try await clock.sleep(for: timeLimit - waited) } catch { return }
            oldest.answer.give(.failure(.timedOut))
        }
    }

    private func oldest() -> (since: Timestamp, answer: FirstAnswer)? {
        state.withLockedValue { state in
            state.dropAnswered()
            state.isTiming = !state.senders.isEmpty
            return state.senders.first
        }
    }
}

/// Hands the first of several answers to the one who waits; the others are dropped.
private struct FirstAnswer {
    private let onAnswer: NIOLockedValueBox<BoundedLedger.OnAnswer?>

    init(_ onAnswer: @escaping BoundedLedger.OnAnswer) { self.onAnswer = NIOLockedValueBox(onAnswer) }

    var isGiven: Bool { onAnswer.withLockedValue { $0 == nil } }

    func give(_ answer: Result<DeliveryReceipt, BoundedLedger.Failure>) {
        let first = onAnswer.withLockedValue { onAnswer in
            defer { onAnswer = nil }
            return onAnswer
        }
        first?(answer)
    }
}
