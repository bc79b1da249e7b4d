// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import OutgoingWebhooks
import Testing

@Suite struct TargetMachineTests {
    private static let start = Timestamp(seconds: 1_800_000_000)

    private func failed(_ machine: inout TargetMachine, at now: Timestamp = start) -> TargetMachine.News? {
        machine.started()
        return machine.ended(.failed(retryAfter: nil), at: now, jitter: 1)
    }

    @Test func servingTargetGetsAsManyAsMayRun() {
        var machine = TargetMachine(runningMax: 3)
        #expect(machine.openings(at: Self.start) == 3)
        machine.started()
        machine.started()
        #expect(machine.openings(at: Self.start) == 1)
        #expect(machine.ended(.taken, at: Self.start, jitter: 1) == nil)
        #expect(machine.openings(at: Self.start) == 2)
    }

    @Test func failingTargetIsProbedByOneAtATimeAfterAPause() {
        var machine = TargetMachine(runningMax: 3)
        #expect(failed(&machine) == .failing)
        #expect(machine.openings(at: Self.start) == 0)
        let end = Self.start + .seconds(1)
        #expect(machine.pausesUntil == end && machine.openings(at: end) == 1)
        machine.started()
        #expect(machine.state == .probing(failures: 1) && machine.openings(at: end + .seconds(99)) == 0)
        #expect(machine.ended(.taken, at: end, jitter: 1) == .back)
        #expect(machine.openings(at: end) == 3)
    }

    @Test func pauseDoublesAndIsBounded() {
        var machine = TargetMachine(runningMax: 1)
        var now = Self.start
        var pauses: [Duration] = []
        for _ in 0..<12 {
            _ = failed(&machine, at: now)
            let end = machine.pausesUntil ?? now
            pauses.append(end - now)
            now = end
        }
        #expect(pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600].map { .seconds($0) })
    }

    @Test func severalFailuresAtOnceAreOne() {
        var machine = TargetMachine(runningMax: 3)
        for _ in 0..<3 { machine.started() }
        let news = (0..<3).map { _ in machine.ended(.failed(retryAfter: nil), at: Self.start, jitter: 1) }
        #expect(news == [.failing, nil, nil])
        #expect(machine.state == .pausing(failures: 1, until: Self.start + .seconds(1)))
    }

    @Test func askedForWaitIsTheLeast() {
        var machine = TargetMachine(runningMax: 1)
        machine.started()
        _ = machine.ended(.failed(retryAfter: .seconds(90)), at: Self.start, jitter: 0)
        #expect(machine.pausesUntil == Self.start + .seconds(90))
    }

    @Test func goneTargetGetsNothingMore() {
        var machine = TargetMachine(runningMax: 2)
        machine.started()
        machine.started()
        #expect(machine.ended(.gone, at: Self.start, jitter: 1) == .gone)
        #expect(machine.ended(.taken, at: Self.start, jitter: 1) == nil)
        #expect(machine.openings(at: Self.start + .seconds(1_000_000)) == 0)
    }

    @Test func abandonedProbeSaysNothing() {
        var machine = TargetMachine(runningMax: 2)
        _ = failed(&machine)
        let later = Self.start + .seconds(5)
        machine.started()
        #expect(machine.ended(.abandoned, at: later, jitter: 1) == nil)
        #expect(machine.state == .pausing(failures: 1, until: later) && machine.openings(at: later) == 1)
    }
}
