// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import NIOConcurrencyHelpers

/// What all parts of a world share: its time, its luck and those who look on.
final class WorldState: Sendable {
    static let start = Timestamp(seconds: 1_800_000_000)

    let scenario: Scenario
    let clock = MockClock(now: WorldState.start)
    let dice: Dice
    let watch: Watch
    let hub: CommitHub
    private let faultsEnded = NIOLockedValueBox(false)

    init(_ scenario: Scenario) {
        self.scenario = scenario
        dice = Dice(seed: scenario.seed, purpose: 2)
        let luck = Dice(seed: scenario.seed, purpose: 3)
        hub = CommitHub { scenario.has(.lostWakeup) && luck.chance(0.5) }
        watch = Watch(scenario)
    }

    var haveFaultsEnded: Bool { faultsEnded.withLockedValue { $0 } }
    func endFaults() { faultsEnded.withLockedValue { $0 = true } }

    /// Whether this fault happens here and now.
    /// - Parameter rate: how likely it is, where not as likely as any.
    func strikes(_ fault: Fault, at rate: Double? = nil) -> Bool {
        guard scenario.has(fault), !haveFaultsEnded, dice.chance(rate ?? scenario.rate) else { return false }
        watch.struck(fault)
        return true
    }

    func note(_ text: @autoclosure () -> String) {
        let line = text()
        Scheduler.shared.note(line)
        if Say.isVerbose {
            let seconds = (clock.now() - Self.start).inSeconds
            Say.error("\(seconds) \(line)")
        }
    }
}
