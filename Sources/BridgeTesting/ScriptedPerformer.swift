// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import NIOConcurrencyHelpers

/// An `ActionPerformer` that does what a closure says for each request, and remembers what was asked of it.
package final class ScriptedPerformer: ActionPerformer {
    package typealias Answer = @Sendable (ActionRequest, any ActionReporter) async -> ActionOutcome?

    private struct State: Sendable {
        var calls: [[ActionRequest]] = []
        var running: [Action: Int] = [:]
        var runningMax: [Action: Int] = [:]
    }

    private let answer: Answer
    private let state = NIOLockedValueBox(State())

    /// - Parameter answer: nil leaves the request without an outcome.
    package init(_ answer: @escaping Answer) { self.answer = answer }

    /// Every call so far with its requests.
    package var calls: [[ActionRequest]] { state.withLockedValue { $0.calls } }

    package func calls(_ action: Action) -> [[ActionRequest]] { calls.filter { $0.first?.action == action } }

    /// Requests of this action that are being performed.
    package func running(_ action: Action) -> Int { state.withLockedValue { $0.running[action] ?? 0 } }

    /// The most calls of this action that ran at the same time.
    package func runningMax(_ action: Action) -> Int { state.withLockedValue { $0.runningMax[action] ?? 0 } }

    package func perform(
        _ requests: [ActionRequest], reporter: any ActionReporter
    ) async -> [ClipUID: ActionOutcome] {
        guard let action = requests.first?.action else { return [:] }
        state.withLockedValue { state in
            state.calls.append(requests)
            state.running[action, default: 0] += 1
            state.runningMax[action] = max(state.runningMax[action] ?? 0, state.running[action] ?? 0)
        }
        defer { state.withLockedValue { $0.running[action, default: 1] -= 1 } }
        var outcomes: [ClipUID: ActionOutcome] = [:]
        for request in requests { outcomes[request.uid] = await answer(request, reporter) }
        return outcomes
    }
}
