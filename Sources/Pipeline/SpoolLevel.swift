// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP

/// How far a download has filled its spool file: told by the download as it writes, waited for by what follows it.
///
/// It lasts for one run of a transfer, over the breaks of its download, and shows what is written to `digester` before
/// anybody may read it.
final class SpoolLevel: FileObserver {
    private struct State: Sendable {
        var available: UInt64
        var total: UInt64?
        var etag: String?
        var isFinished = false
        var waiters: [Int: Waiter] = [:]
        var waitersEver = 0
    }

    private struct Waiter: Sendable {
        var isMet: @Sendable (State) -> Bool
        var continuation: CheckedContinuation<Void, any Error>
    }

    let digester = PartDigester()
    private let state: NIOLockedValueBox<State>

    /// - Parameter offset: what the file holds already.
    init(offset: UInt64) {
        state = NIOLockedValueBox(State(available: offset))
    }

    /// Bytes of the file from its beginning that can be read.
    var available: UInt64 { state.withLockedValue(\.available) }
    var total: UInt64? { state.withLockedValue(\.total) }
    var etag: String? { state.withLockedValue(\.etag) }

    // MARK: The download

    /// The head of an answer whose body goes into the file.
    func place(plan: PartPlan?, etag: String?) {
        if let plan { digester.begin(plan, at: available) }
        change { state in
            state.total = plan?.objectBytes ?? state.total
            state.etag = etag ?? state.etag
        }
    }

    func wrote(_ bytes: RawSpan, at offset: UInt64) {
        digester.wrote(bytes, at: offset)
        let end = offset + UInt64(bytes.byteCount)
        change { $0.available = end }
    }

    /// Everything is there.
    func finish(size: UInt64) {
        change { state in
            state.total = size
            state.isFinished = true
        }
    }

    private func change(_ body: (inout State) -> Void) {
        let met = state.withLockedValue { state in
            body(&state)
            let met = state.waiters.filter { $0.value.isMet(state) }
            for id in met.keys { state.waiters[id] = nil }
            return met.values
        }
        for waiter in met { waiter.continuation.resume() }
    }

    // MARK: What follows it

    /// Waits until the length is known: from the head, or where that does not say, from the end of the download.
    func knownTotal() async throws -> UInt64 {
        try await wait { $0.total != nil }
        return total ?? 0
    }

    /// Waits until the file holds everything before `end`.
    func reach(_ end: UInt64) async throws {
        try await wait { $0.available >= end || $0.isFinished }
    }

    /// Waits for the end of the download.
    func finished() async throws {
        try await wait { $0.isFinished }
    }

    private func wait(until isMet: @escaping @Sendable (State) -> Bool) async throws {
        let id = state.withLockedValue { state in
            state.waitersEver += 1
            return state.waitersEver
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                enter(Waiter(isMet: isMet, continuation: continuation), id)
            }
        } onCancel: {
            let waiter = state.withLockedValue { $0.waiters.removeValue(forKey: id) }
            waiter?.continuation.resume(throwing: CancellationError())
        }
    }

    private func enter(_ waiter: Waiter, _ id: Int) {
        let result: Result<Void, any Error>? = state.withLockedValue { state in
            if waiter.isMet(state) { return .success(()) }
            // The flag is set before cancellation handlers run: it is seen here, or the handler finds the waiter.
            if Task.isCancelled { return .failure(CancellationError()) }
            state.waiters[id] = waiter
            return nil
        }
        if let result { waiter.continuation.resume(with: result) }
    }
}
