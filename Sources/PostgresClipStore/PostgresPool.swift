// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipStore
import NIOConcurrencyHelpers

/// Lends sessions, one to a caller at a time, in the order in which they were asked for.
final class PostgresPool: Sendable {
    private struct Waiting: Sendable {
        var id: Int
        var continuation: CheckedContinuation<PostgresSession, any Error>
    }

    private struct State: Sendable {
        /// The one that was used last comes first: its statements are prepared and its connection is open.
        var idle: [PostgresSession]
        var waiting: [Waiting] = []
        var asked = 0
    }

    /// Nobody waits longer for a session; a sender is better off with a 503.
    private static let waitMax = Duration.seconds(10)

    private let sessions: [PostgresSession]
    private let state: NIOLockedValueBox<State>

    init(url: String, size: Int, label: String) {
        sessions = (1...size).map { PostgresSession(url: url, label: "\(label) \($0)") }
        state = NIOLockedValueBox(State(idle: sessions))
    }

    func withSession<Value: Sendable>(
        _ body: @Sendable (PostgresSession) async throws -> Value
    ) async throws -> Value {
        let session = try await borrow()
        defer { giveBack(session) }
        return try await body(session)
    }

    func close() async {
        for session in sessions { await session.close() }
    }

    private func borrow() async throws -> PostgresSession {
        let id = state.withLockedValue { state in
            state.asked += 1
            return state.asked
        }
        let timer = Task {
            try await Task.sleep(for: Self.waitMax)
            let text = "all \(sessions.count) connections to the database are busy"
            withdraw(id, StoreError(.unavailable, text))
        }
        defer { timer.cancel() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let answer: Result<PostgresSession, any Error>? = state.withLockedValue { state in
                    // Seen here, or the handler finds who waits.
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if let session = state.idle.popLast() { return .success(session) }
                    state.waiting.append(Waiting(id: id, continuation: continuation))
                    return nil
                }
                if let answer { continuation.resume(with: answer) }
            }
        } onCancel: {
            withdraw(id, CancellationError())
        }
    }

    private func withdraw(_ id: Int, _ error: any Error) {
        let found = state.withLockedValue { state in
            state.waiting.firstIndex { $0.id == id }.map { state.waiting.remove(at: $0) }
        }
        found?.continuation.resume(throwing: error)
    }

    private func giveBack(_ session: PostgresSession) {
        let next = state.withLockedValue { state -> Waiting? in
            guard !state.waiting.isEmpty else {
                state.idle.append(session)
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.continuation.resume(returning: session)
    }
}
