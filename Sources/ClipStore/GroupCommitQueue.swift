// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import NIOConcurrencyHelpers

/// Lets deliveries that arrive while a commit runs go into the next one together: one sync of the disk serves many,
/// and none is acknowledged before its own.
package final class GroupCommitQueue: Sendable {
    /// Stores what `batch` gives. It is asked as late as can be, because what comes until then goes with it.
    package typealias Commit = @Sendable (_ batch: Batch) async throws -> [DeliveryReceipt]

    /// What goes into one commit.
    package final class Batch: Sendable {
        private let queue: GroupCommitQueue
        private let taken = NIOLockedValueBox<[Waiting]?>(nil)

        fileprivate init(of queue: GroupCommitQueue) { self.queue = queue }

        /// The same ones whenever it is called, and at least one.
        package func deliveries() -> [NewDelivery] { waiting().map(\.delivery) }

        fileprivate func waiting() -> [Waiting] {
            taken.withLockedValue { taken in
                if let taken { return taken }
                let batch = queue.take()
                taken = batch
                return batch
            }
        }
    }

    fileprivate struct Waiting: Sendable {
        var delivery: NewDelivery
        var continuation: CheckedContinuation<DeliveryReceipt, any Error>
    }

    private struct State: Sendable {
        var waiting: [Waiting] = []
        var isCommitting = false
    }

    private let batchMax: Int
    private let state = NIOLockedValueBox(State())

    /// - Parameter batchMax: bounds the time that one commit takes.
    package init(batchMax: Int) { self.batchMax = batchMax }

    package func commit(_ delivery: NewDelivery, by commit: @escaping Commit) async throws -> DeliveryReceipt {
        try await withCheckedThrowingContinuation { continuation in
            let starts = state.withLockedValue { state in
                state.waiting.append(Waiting(delivery: delivery, continuation: continuation))
                defer { state.isCommitting = true }
                return !state.isCommitting
            }
            // Not a child of the caller: a request that is cancelled must not take the others' commit with it.
            if starts { Task { await self.drain(by: commit) } }
        }
    }

    private func drain(by commit: Commit) async {
        while hasMore() {
            let batch = Batch(of: self)
            do {
                let receipts = try await commit(batch)
                for (waiting, receipt) in zip(batch.waiting(), receipts) {
                    waiting.continuation.resume(returning: receipt)
                }
            } catch {
                for waiting in batch.waiting() { waiting.continuation.resume(throwing: error) }
            }
        }
    }

    private func hasMore() -> Bool {
        state.withLockedValue { state in
            state.isCommitting = !state.waiting.isEmpty
            return state.isCommitting
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
