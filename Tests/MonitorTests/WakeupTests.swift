// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import NIOConcurrencyHelpers
import Testing

@testable import Monitor

@Suite(.timeLimit(.minutes(1))) struct WakeupTests {
    @Test func wakeBeforeTheWaitIsRemembered() async {
        let wakeup = Wakeup()
        wakeup.wake()
        wakeup.wake()
        await wakeup.wait(atMost: nil, clock: MockClock())
    }

    @Test func timeEndsTheWait() async {
        let (wakeup, clock) = (Wakeup(), MockClock())
        async let done: Void = wakeup.wait(atMost: .seconds(5), clock: clock)
        await clock.waitForSleepers(1)
        clock.advance(by: .seconds(5))
        await done
        #expect(clock.sleepers == 0)
    }

    @Test func wakeEndsTheWaitAndItsTimer() async {
        let (wakeup, clock) = (Wakeup(), MockClock())
        async let done: Void = wakeup.wait(atMost: .seconds(5), clock: clock)
        await clock.waitForSleepers(1)
        wakeup.wake()
        await done
        #expect(clock.sleepers == 0)
    }

    @Test(arguments: [nil, Duration.seconds(5)])
    func cancellationEndsTheWait(_ limit: Duration?) async {
        let (wakeup, clock) = (Wakeup(), MockClock())
        let task = Task { await wakeup.wait(atMost: limit, clock: clock) }
        await Task.yield()
        task.cancel()
        await task.value
    }

    /// Each item is followed by a wake; whoever looks after each wait must see every one of them.
    @Test(arguments: 0..<8)
    func noWakeIsLost(_ round: Int) async {
        let (wakeup, clock) = (Wakeup(), MockClock())
        let items = NIOLockedValueBox(0)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<500 {
                        items.withLockedValue { $0 += 1 }
                        wakeup.wake()
                        if round.isMultiple(of: 2) { await Task.yield() }
                    }
                }
            }
            group.addTask {
                while items.withLockedValue({ $0 }) < 2_000 {
                    await wakeup.wait(atMost: round < 4 ? nil : .seconds(60), clock: clock)
                }
            }
        }
        #expect(items.withLockedValue { $0 } == 2_000)
    }
}

@Suite(.timeLimit(.minutes(1))) struct ActionSlotsTests {
    @Test func transfersAndCallsAreCountedApart() {
        let slots = ActionSlots(transfersMax: 1, callsMax: 2)
        slots.take(.transfer)
        slots.take(.checkMP4)
        #expect(slots.free(for: .transfer) == 0)
        #expect(slots.free(for: .requestMP4) == 1)
        #expect(slots.running == 2)
        slots.giveBack(.transfer)
        #expect(slots.free(for: .transfer) == 1)
        slots.close()
        #expect(slots.free(for: .transfer) == 0)
        #expect(slots.free(for: .checkVideo) == 0)
    }

    @Test func drainEndsWithTheLastAction() async {
        let (slots, clock) = (ActionSlots(transfersMax: 1, callsMax: 1), MockClock())
        slots.take(.transfer)
        async let drained: Void = slots.drained(atMost: .seconds(15), clock: clock)
        await clock.waitForSleepers(1)
        slots.giveBack(.transfer)
        await drained
        #expect(slots.running == 0)
    }

    @Test func drainEndsWithItsTime() async {
        let (slots, clock) = (ActionSlots(transfersMax: 1, callsMax: 1), MockClock())
        slots.take(.transfer)
        async let drained: Void = slots.drained(atMost: .seconds(15), clock: clock)
        await clock.waitForSleepers(1)
        clock.advance(by: .seconds(15))
        await drained
        #expect(slots.running == 1)
    }

    /// On a clock that stands still a drain that went on would never end.
    @Test func drainEndsWithItsTask() async {
        let (slots, clock) = (ActionSlots(transfersMax: 1, callsMax: 1), MockClock())
        slots.take(.transfer)
        let task = Task { await slots.drained(atMost: .seconds(15), clock: clock) }
        task.cancel()
        await task.value
        #expect(slots.running == 1)
    }
}
