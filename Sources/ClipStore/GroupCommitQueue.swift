// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import NIOConcurrencyHelpers

/// Lets deliveries that arrive while a commit runs go into the next one together: one sync of the disk serves many,
/// and none is acknowledged before its own.
package final class GroupCommitQueue: Sendable {
    package typealias OnEnd = @Sendable (Result<DeliveryReceipt, any Error>) -> Void

    /// What goes into one commit.
    package final class Batch: Sendable {
        private let queue: GroupCommitQueue
        private let taken = NIOLockedValueBox<[Waiting]?>(nil)

        fileprivate init(of queue: GroupCommitQueue) { self.queue = queue }

        /// What `transform` makes of each, in their order: of the same ones whenever it is called, and at least one.
        package func map<Value>(_ transform: (NewDelivery) throws -> Value) rethrows -> [Value] {
            try waiting().map { try transform($0.delivery) }
        }

        fileprivate func waiting() -> [Waiting] {
            taken.withLockedValue { taken in
                if let taken { return taken }
                let batch = queue.take()
                taken = batch
                return batch
            }
        }
    }

    /// A class, because it is passed on from hand to hand and large.
    fileprivate final class Waiting: Sendable {
        let delivery: NewDelivery
        let onEnd: OnEnd

        init(delivery: NewDelivery, onEnd: @escaping OnEnd) {
            self.delivery = delivery
            self.onEnd = onEnd
        }
    }

    private struct State: Sendable {
        var waiting: [Waiting] = []
        var isCommitting = false
    }

    private let batchMax: Int
    private let state = NIOLockedValueBox(State())

    /// - Parameter batchMax: bounds the time that one commit takes.
    package init(batchMax: Int) { self.batchMax = batchMax }

    /// - Returns: true for who has to see that `drain` runs.
    package func add(_ delivery: NewDelivery, onEnd: @escaping OnEnd) -> Bool {
        state.withLockedValue { state in
            state.waiting.append(Waiting(delivery: delivery, onEnd: onEnd))
            defer { state.isCommitting = true }
            return !state.isCommitting
        }
    }

    /// Stores batches until nothing waits any more.
    /// - Parameter commit: stores what the batch gives. It is asked as late as can be, because what comes until then
    ///   goes with it.
    package func drain(by commit: (Batch) async throws -> [DeliveryReceipt]) async {
        while let batch = next() {
            do {
                end(batch, receipts: try await commit(batch))
            } catch {
                end(batch, error)
            }
        }
    }

    /// The same for a store that may keep a thread of its own.
    package func drain(by commit: (Batch) throws -> [DeliveryReceipt]) {
        while let batch = next() {
            do {
                end(batch, receipts: try commit(batch))
            } catch {
                end(batch, error)
            }
        }
    }

    private func end(_ batch: Batch, receipts: [DeliveryReceipt]) {
        for (waiting, receipt) in zip(batch.waiting(), receipts) { waiting.onEnd(.success(receipt)) }
    }

    private func end(_ batch: Batch, _ error: any Error) {
        for waiting in batch.waiting() { waiting.onEnd(.failure(error)) }
    }

    private func next() -> Batch? {
        state.withLockedValue { state in
            state.isCommitting = !state.waiting.isEmpty
            return state.isCommitting ? Batch(of: self) : nil
        }
    }

    private func take() -> [Waiting] {
        state.withLockedValue { state in
            let batch = Array(state.waiting.prefix(batchMax))
            state.waiting.removeFirst(batch.count)
            return batch
        }
    }
}
