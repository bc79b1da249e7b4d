// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import NIOConcurrencyHelpers

/// Wakes one loop: a call while the loop is busy is remembered, several are one.
package final class Wakeup: Sendable {
    private struct State: Sendable {
        var isSet = false
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    package func wake() {
        let waiting = state.withLockedValue { state in
            defer { state.waiting = nil }
            state.isSet = state.waiting == nil
            return state.waiting
        }
        waiting?.resume()
    }

    /// Returns when woken, when the time is up, or when the task is cancelled.
    package func wait(atMost limit: Duration?, clock: any WallClock) async {
        guard let limit else { return await wait() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.wait() }
            group.addTask {
                do { try await clock.sleep(for: limit) } catch { return }
                self.wake()
            }
            await group.next()
            group.cancelAll()
        }
    }

    private func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isSet = state.withLockedValue { state in
                    if state.isSet || Task.isCancelled {
                        state.isSet = false
                        return true
                    }
                    state.waiting = continuation
                    return false
                }
                if isSet { continuation.resume() }
            }
        } onCancel: {
            // Sets the flag where nobody waits yet, so that a wait that comes after the cancellation returns as well.
            wake()
        }
    }
}
