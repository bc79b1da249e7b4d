// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import Monitor
import NIOConcurrencyHelpers

/// One run: replicas over one store, the services outside, and whoever delivers, asks and breaks.
final class World<Base: ClipStore>: Sendable {
    let state: WorldState
    let upstream: Upstream
    let base: Base
    /// As another program sees the store.
    let outside: Base
    let folder: String
    let clips: [PlannedClip]
    private let budget: BudgetLevel
    private let replicas = NIOLockedValueBox<[Replica<Base>]>([])
    private let births = NIOLockedValueBox(0)
    private let awaits = NIOLockedValueBox<Awaits?>(nil)
    /// How often each host lost its power.
    private let machineStarts = NIOLockedValueBox<[Int: Int]>([:])
    private let isOver = NIOLockedValueBox(false)

    init(_ scenario: Scenario, base: Base, outside: Base, folder: String) {
        state = WorldState(scenario)
        upstream = Upstream(state)
        self.base = base
        self.outside = outside
        self.folder = folder
        clips = (1...scenario.clips).map { PlannedClip($0, scenario) }
        budget = BudgetLevel(clock: state.clock)
    }

    var scenario: Scenario { state.scenario }
    var watch: Watch { state.watch }

    // MARK: Replicas

    /// One that lives, if any does.
    func anyReplica() -> Replica<Base>? {
        let living = replicas.withLockedValue { $0.filter { !$0.life.isDead } }
        return living.isEmpty ? nil : state.dice.pick(living)
    }

    private func startReplica(host: Int) {
        if isOver.withLockedValue({ $0 }) { return }
        let number = births.withLockedValue { births in
            births += 1
            return births
        }
        let awaits = awaits.withLockedValue { $0 } ?? Awaits([:], downloads: [:])
        let start = machineStarts.withLockedValue { $0[host, default: 0] }
        let life = Life(
            owner: "replica-\(number)", host: host, machine: "@host-\(host)-\(start)", clock: state.clock,
            awaits: awaits)
        watch.born(life)
        do {
            let replica = try Replica(
                life: life, base: base, world: state, upstream: upstream, budget: budget, folder: folder)
            replicas.withLockedValue { $0.append(replica) }
            state.note("\(life.owner) starts on host \(host)")
            replica.start()
        } catch {
            watch.found("\(life.owner) could not be made: \(error)")
        }
    }

    private func kill(_ life: Life) {
        let replica: Replica<Base>? = replicas.withLockedValue { replicas in
            defer { replicas.removeAll { $0.life === life } }
            return replicas.first { $0.life === life }
        }
        replica?.kill()
    }

    // MARK: What the seed does at an await

    /// Crashes and pauses, each at an await of which only the number is drawn.
    private func plannedTroubles() -> (anywhere: Awaits.Plan, inDownloads: Awaits.Plan) {
        let dice = Dice(seed: scenario.seed, purpose: 4)
        var plan: Awaits.Plan = [:]
        // Drawn whether or not it is wanted, so that the others stay where they are.
        let (crashes, pauses) = (dice.int(1...4), dice.int(1...3))
        let numbers = (0..<crashes + pauses).map { _ in dice.int(1...dice.pick([50, 300, 1_500])) }
        for number in numbers.prefix(crashes) where scenario.has(.crash) { plan[number] = { self.crash($0) } }
        for number in numbers.suffix(pauses) where scenario.has(.pause) { plan[number] = { self.pause($0) } }
        let number = dice.int(2...12)
        let isCut = dice.chance(0.5) && scenario.has(.crash)
        return (plan, isCut ? [number: { self.crash($0) }] : [:])
    }

    private func crash(_ life: Life) {
        if state.haveFaultsEnded || life.isDead { return }
        watch.struck(.crash)
        state.note("\(life.owner) crashes")
        kill(life)
        if scenario.has(.lostSpool), state.dice.chance(0.5) {
            try? FileManager.default.removeItem(atPath: "\(folder)/spool-\(life.host)")
        }
        let isPowerLoss = scenario.has(.powerLoss) && state.dice.chance(0.7)
        if isPowerLoss { losePower(host: life.host) }
        let wait = state.dice.duration(0.1...20)
        Task {
            try? await state.clock.sleep(for: wait)
            startReplica(host: life.host)
        }
    }

    /// What was written last is gone from the spool's files, and the machine has another name for its new start.
    private func losePower(host: Int) {
        watch.struck(.powerLoss)
        let spool = "\(folder)/spool-\(host)"
        for name in (try? FileManager.default.contentsOfDirectory(atPath: spool).sorted()) ?? [] {
            guard let file = FileHandle(forUpdatingAtPath: "\(spool)/\(name)") else { continue }
            let size = (try? file.seekToEnd()) ?? 0
            let lost = min(size, 200_000)
            try? file.seek(toOffset: size - lost)
            try? file.write(contentsOf: Data(count: Int(lost)))
            try? file.close()
        }
        machineStarts.withLockedValue { $0[host, default: 0] += 1 }
    }

    private func pause(_ life: Life) {
        if state.haveFaultsEnded || life.isDead { return }
        let length = state.dice.duration(2...45)
        watch.struck(.pause)
        state.note("\(life.owner) stands still for \(length)")
        life.pause(until: state.clock.now() + length)
    }

    // MARK: Running

    /// Lives through it to the end; what is wrong is in `watch`.
    func run() async {
        let troubles = plannedTroubles()
        awaits.withLockedValue { $0 = Awaits(troubles.anywhere, downloads: troubles.inDownloads) }
        for host in 1...scenario.replicas { startReplica(host: host) }
        await withDiscardingTaskGroup { group in
            for clip in clips { group.addTask { await self.live(clip) } }
            group.addTask { await self.meddle() }
            group.addTask { await self.setClocks() }
        }
        let left = WorldState.start + scenario.horizon - state.clock.now()
        try? await state.clock.sleep(for: max(left, .milliseconds(1)))
        state.endFaults()
        state.note("faults end")
        await settle()
        await FinalCheck(world: self).run()
        isOver.withLockedValue { $0 = true }
        for replica in replicas.withLockedValue({ $0 }) { replica.kill() }
    }

    /// Ends everything at once, after a violation.
    func stop() {
        isOver.withLockedValue { $0 = true }
        for replica in replicas.withLockedValue({ $0 }) { replica.kill() }
    }

    /// Waits until nothing is to be done any more, and lets an operator retry what faults have stopped.
    private func settle() async {
        let end = state.clock.now() + .seconds(3_600)
        while state.clock.now() < end, watch.violation == nil {
            try? await state.clock.sleep(for: .seconds(2))
            let base = base
            let rows = try? await Scheduler.shared.exclusively {
                try await base.read {
                    (try $0.clips(status: nil, before: nil, limit: 100), try $0.oldestUndecided())
                }
            }
            guard let (clips, pending) = rows else { continue }
            let stopped = clips.filter { $0.status == .error && !isMeantToFail($0) }
            for clip in stopped { await retry(clip.uid) }
            if stopped.isEmpty, pending == nil, clips.allSatisfy({ $0.status?.isTerminal ?? true }) { return }
        }
    }

    private func retry(_ uid: ClipUID) async {
        state.note("retry of \(uid)")
        let signal = Signal(uid: uid, source: .operator, request: .retry, trace: .fixed)
        _ = try? await anyReplica()?.monitor.submit(signal)
    }

    /// Whether the clip can not come to be complete, by what was planned for it.
    func isMeantToFail(_ clip: ClipRecord) -> Bool {
        clips.first { $0.uid == clip.uid }?.isMeantToFail ?? true
    }
}

extension TraceID {
    /// Drawn ones would differ from run to run.
    static let fixed = TraceID.of(traceparent: "00-00000000000000000000000000000001-0000000000000001-01")
}
