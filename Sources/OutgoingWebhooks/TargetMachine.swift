// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// Decides how many messages may be on their way to one target: a few while it takes them, none for a while after it
/// has failed, then one at a time until it takes one again, and none for good when it is gone.
///
/// A value: no clock, no store, no log.
package struct TargetMachine: Sendable, Equatable {
    package enum State: Sendable, Equatable {
        /// It takes what it is sent. Next: pausing, gone.
        case serving
        /// It has failed so many times in a row. Next, when the time has come: probing.
        case pausing(failures: Int, until: Timestamp)
        /// One message finds out. Next: serving, pausing, gone.
        case probing(failures: Int)
        /// It has said that it wants no more. Nothing follows before the process' end.
        case gone
    }

    /// What became of one try.
    package enum Answer: Sendable, Equatable {
        case taken
        /// - Parameter retryAfter: what it asked for.
        case failed(retryAfter: Duration?)
        case gone
        /// Given up because the process is stopping: it says nothing about the target.
        case abandoned
    }

    /// What an operator should know, once.
    package enum News: Sendable, Equatable {
        case failing, back, gone
    }

    package private(set) var state = State.serving
    package private(set) var running = 0
    private let runningMax: Int

    package init(runningMax: Int) { self.runningMax = runningMax }

    /// How many more may be sent now.
    package func openings(at now: Timestamp) -> Int {
        switch state {
        case .serving: max(0, runningMax - running)
        case .pausing(_, let until): running == 0 && until <= now ? 1 : 0
        case .probing, .gone: 0
        }
    }

    /// When a pause ends; nil when there is none.
    package var pausesUntil: Timestamp? {
        if case .pausing(_, let until) = state { until } else { nil }
    }

    package mutating func started() {
        running += 1
        if case .pausing(let failures, _) = state { state = .probing(failures: failures) }
    }

    package mutating func ended(_ answer: Answer, at now: Timestamp, jitter: Double) -> News? {
        precondition(running > 0, "nothing was on its way in \(state)")
        running -= 1
        switch (state, answer) {
        case (.gone, _), (.serving, .taken), (.serving, .abandoned):
            return nil
        case (.serving, .gone), (.pausing, .gone), (.probing, .gone):
            state = .gone
            return .gone
        case (.serving, .failed(let retryAfter)):
            pause(failures: 1, now, jitter, retryAfter)
            return .failing
        case (.pausing, .taken), (.pausing, .failed), (.pausing, .abandoned):
            // Sent before the failure was known, and no news of what is now.
            return nil
        case (.probing, .taken):
            state = .serving
            return .back
        case (.probing(let failures), .failed(let retryAfter)):
            pause(failures: failures + 1, now, jitter, retryAfter)
            return nil
        case (.probing(let failures), .abandoned):
            state = .pausing(failures: failures, until: now)
            return nil
        }
    }

    private mutating func pause(failures: Int, _ now: Timestamp, _ jitter: Double, _ retryAfter: Duration?) {
        let delay = SendingBackoff.delay(afterFailures: failures, jitter: jitter, retryAfter: retryAfter)
        state = .pausing(failures: failures, until: now + delay)
    }
}

/// How long is waited after failures, and when a message is given up.
package enum SendingBackoff {
    package static let firstCeiling = Duration.seconds(1)
    package static let ceilingMax = Duration.seconds(600)
    package static let ageMax = Duration.seconds(3 * 86_400)
    /// However the jitter falls, a receiver that is down is not asked without pause.
    private static let least = Duration.milliseconds(250)

    /// Full jitter over a doubling interval; what the receiver asks for is the least.
    /// - Parameter jitter: 0…1.
    package static func delay(afterFailures failures: Int, jitter: Double, retryAfter: Duration?) -> Duration {
        let ceiling = min(firstCeiling * Double(1 << min(max(failures, 1) - 1, 16)), ceilingMax)
        return max(ceiling * jitter, least, retryAfter ?? .zero)
    }
}
