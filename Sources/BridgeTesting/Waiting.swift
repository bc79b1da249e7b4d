// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers
package import Testing

/// Waits until the condition holds, by letting others run, and records an issue if it does not come to hold in time.
package func eventually(
    within limit: Duration = .seconds(30), sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async rethrows {
    let end = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < end, !Task.isCancelled else {
            Issue.record("the condition did not come to hold", sourceLocation: sourceLocation)
            return
        }
        await Task.yield()
    }
}

/// Lets those who wait pass once it is open, or once they are cancelled.
package final class Gate: Sendable {
    private struct State: Sendable {
        var isOpen = false
        var lastID = 0
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
        var cancelled: Set<Int> = []
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    package func wait() async {
        let id = state.withLockedValue { state in
            state.lastID += 1
            return state.lastID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let passes = state.withLockedValue { state in
                    if state.isOpen || state.cancelled.remove(id) != nil { return true }
                    state.waiting[id] = continuation
                    return false
                }
                if passes { continuation.resume() }
            }
        } onCancel: {
            let waiting = state.withLockedValue { state in
                let waiting = state.waiting.removeValue(forKey: id)
                if waiting == nil { state.cancelled.insert(id) }
                return waiting
            }
            waiting?.resume()
        }
    }

    package func open() {
        let waiting = state.withLockedValue { state in
            defer { state.waiting = [:] }
            state.isOpen = true
            return state.waiting.values
        }
        for continuation in waiting { continuation.resume() }
    }
}
