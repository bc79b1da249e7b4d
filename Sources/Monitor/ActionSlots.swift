// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import NIOConcurrencyHelpers

/// How many actions may run at once: transfers and calls apart, so that long ones never keep short ones waiting.
final class ActionSlots: Sendable {
    private struct State: Sendable {
        var transfers = 0
        var calls = 0
        var isClosed = false
    }

    private let transfersMax: Int
    private let callsMax: Int
    private let state = NIOLockedValueBox(State())
    private let changed = Wakeup()

    init(transfersMax: Int, callsMax: Int) {
        self.transfersMax = transfersMax
        self.callsMax = callsMax
    }

    var running: Int { state.withLockedValue { $0.transfers + $0.calls } }

    func free(for action: Action) -> Int {
        state.withLockedValue { state in
            if state.isClosed { return 0 }
            return action == .transfer ? transfersMax - state.transfers : callsMax - state.calls
        }
    }

    func take(_ action: Action) { change(action, by: 1) }

    func giveBack(_ action: Action) {
        change(action, by: -1)
        changed.wake()
    }

    /// No more is started.
    func close() { state.withLockedValue { $0.isClosed = true } }

    /// Returns when nothing runs any more, when the time is up, or when the task is cancelled.
    func drained(atMost limit: Duration, clock: any WallClock) async {
        let end = clock.now() + limit
        while running > 0, !Task.isCancelled {
            let left = end - clock.now()
            if left <= .zero { return }
            await changed.wait(atMost: left, clock: clock)
        }
    }

    private func change(_ action: Action, by count: Int) {
        state.withLockedValue { state in
            if action == .transfer { state.transfers += count } else { state.calls += count }
        }
    }
}
