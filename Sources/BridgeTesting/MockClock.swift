// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import NIOConcurrencyHelpers

/// A clock that stands still until a test moves it.
///
/// Sleepers are resumed in the order of their deadlines, and of two with the same deadline the first to sleep; while
/// one is resumed the clock shows its deadline.
package final class MockClock: WallClock {
    private struct Sleeper: Sendable {
        var id: UInt64
        var deadline: Timestamp
        var continuation: CheckedContinuation<Void, any Error>
    }

    private struct Watcher: Sendable {
        var id: UInt64
        var count: Int
        var continuation: CheckedContinuation<Void, Never>
    }

    private struct State: Sendable {
        var now: Timestamp
        var lastID: UInt64 = 0
        var sleepers: [Sleeper] = []
        var watchers: [Watcher] = []
        /// Cancelled before they could be registered.
        var cancelled: Set<UInt64> = []

        mutating func nextID() -> UInt64 {
            lastID += 1
            return lastID
        }

        mutating func takeSatisfiedWatchers() -> [Watcher] {
            let satisfied = watchers.filter { $0.count <= sleepers.count }
            watchers.removeAll { $0.count <= sleepers.count }
            return satisfied
        }
    }

    private let state: NIOLockedValueBox<State>

    package init(now: Timestamp = Timestamp(seconds: 1_800_000_000)) {
        state = NIOLockedValueBox(State(now: now))
    }

    package func now() -> Timestamp { state.withLockedValue { $0.now } }

    /// How many sleep.
    package var sleepers: Int { state.withLockedValue { $0.sleepers.count } }

    package func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        if duration <= .zero { return }
        let id = state.withLockedValue { $0.nextID() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                register(id, duration, continuation)
            }
        } onCancel: {
            cancel(id)
        }
    }

    private func register(_ id: UInt64, _ duration: Duration, _ continuation: CheckedContinuation<Void, any Error>) {
        let watchers: [Watcher]? = state.withLockedValue { state in
            if state.cancelled.remove(id) != nil { return nil }
            state.sleepers.append(Sleeper(id: id, deadline: state.now + duration, continuation: continuation))
            return state.takeSatisfiedWatchers()
        }
        guard let watchers else { return continuation.resume(throwing: CancellationError()) }
        for watcher in watchers { watcher.continuation.resume() }
    }

    private func cancel(_ id: UInt64) {
        let sleeper: Sleeper? = state.withLockedValue { state in
            guard let index = state.sleepers.firstIndex(where: { $0.id == id }) else {
                // Resumed already, or not registered yet; in the first case nobody asks for the mark again.
                state.cancelled.insert(id)
                return nil
            }
            return state.sleepers.remove(at: index)
        }
        sleeper?.continuation.resume(throwing: CancellationError())
    }

    /// Moves the time on, deadline by deadline.
    package func advance(by duration: Duration) {
        let end = now() + duration
        while let sleeper = takeDue(by: end) { sleeper.continuation.resume() }
        state.withLockedValue { $0.now = max($0.now, end) }
    }

    /// Moves the time to the next deadline.
    /// - Returns: false when nobody sleeps.
    @discardableResult
    package func advanceToNextDeadline() -> Bool {
        let now = now()
        guard let next = state.withLockedValue({ $0.sleepers.map(\.deadline).min() }) else { return false }
        advance(by: next - now)
        return true
    }

    private func takeDue(by end: Timestamp) -> Sleeper? {
        state.withLockedValue { state in
            let next = state.sleepers.min { ($0.deadline, $0.id) < ($1.deadline, $1.id) }
            guard let next, next.deadline <= end else { return nil }
            state.sleepers.removeAll { $0.id == next.id }
            state.now = max(state.now, next.deadline)
            return next
        }
    }

    /// Returns when at least so many sleep, or when the task is cancelled.
    package func waitForSleepers(_ count: Int) async {
        let id = state.withLockedValue { $0.nextID() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isSatisfied = state.withLockedValue { state in
                    if state.sleepers.count >= count || state.cancelled.remove(id) != nil { return true }
                    state.watchers.append(Watcher(id: id, count: count, continuation: continuation))
                    return false
                }
                if isSatisfied { continuation.resume() }
            }
        } onCancel: {
            let watcher: Watcher? = state.withLockedValue { state in
                guard let index = state.watchers.firstIndex(where: { $0.id == id }) else {
                    state.cancelled.insert(id)
                    return nil
                }
                return state.watchers.remove(at: index)
            }
            watcher?.continuation.resume()
        }
    }
}
