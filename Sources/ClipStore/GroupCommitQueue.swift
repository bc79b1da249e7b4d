// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import NIOConcurrencyHelpers

/// Lets deliveries that arrive while a commit runs go into the next one together: one sync of the disk serves many,
/// and none is acknowledged before its own.
package final class GroupCommitQueue: Sendable {
    package typealias Commit = @Sendable ([NewDelivery]) async throws -> [DeliveryReceipt]

    private struct Waiting: Sendable {
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
        while let batch = nextBatch() {
            do {
                let receipts = try await commit(batch.map(\.delivery))
                for (waiting, receipt) in zip(batch, receipts) { waiting.continuation.resume(returning: receipt) }
            } catch {
                for waiting in batch { waiting.continuation.resume(throwing: error) }
            }
        }
    }

    private func nextBatch() -> [Waiting]? {
        state.withLockedValue { state in
            guard !state.waiting.isEmpty else {
                state.isCommitting = false
                return nil
            }
            let batch = Array(state.waiting.prefix(batchMax))
            state.waiting.removeFirst(batch.count)
            return batch
        }
    }
}
