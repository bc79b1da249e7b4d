// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Monitor

/// What goes on outside of the bridge.
extension World {
    // MARK: A clip's own life

    /// Uploaded, made known, and told of by webhooks while it moves on.
    func live(_ clip: PlannedClip) async {
        let clock = state.clock
        try? await clock.sleep(for: clip.startsAfter)
        upstream.media.add(clip.uid, size: clip.bytes)
        upstream.stream.add(clip.uid, meta: clip.meta, isPrivate: clip.isPrivate)
        await withDiscardingTaskGroup { group in
            group.addTask { await self.introduce(clip) }
            group.addTask {
                try? await clock.sleep(for: clip.uploadTakes)
                self.upstream.stream.arrived(clip.uid, size: clip.bytes)
            }
            for (number, time) in [0.5, 2, 4, 7, 11, 14, 17].enumerated() {
                group.addTask { await self.tell(clip, after: .milliseconds(Int64(time * 1_000)), number: number) }
            }
            group.addTask { await self.changeSource(clip) }
        }
    }

    private func introduce(_ clip: PlannedClip) async {
        switch clip.introduction {
        case .webhook: return
        case .registration: await register(clip)
        case .foreignRow:
            if let memory = base as? MemoryClipStore {
                memory.insertForeignRow(uid: clip.uid.rawValue, status: ClipStatus.uploading.rawValue)
            } else {
                await register(clip)
            }
        }
    }

    private func register(_ clip: PlannedClip) async {
        for _ in 1...20 {
            let signal = Signal(
                uid: clip.uid, source: .operator, request: .status(.uploading), trace: .fixed)
            if let replica = anyReplica(), (try? await replica.monitor.register(signal)) != nil { return }
            try? await state.clock.sleep(for: .seconds(1))
        }
    }

    /// One webhook about the clip as it then is, sent again until it is taken.
    private func tell(_ clip: PlannedClip, after time: Duration, number: Int) async {
        let clock = state.clock
        try? await clock.sleep(for: time)
        if state.strikes(.webhookLoss) || (scenario.has(.webhookLoss) && state.dice.chance(0.3)) { return }
        guard let body = upstream.stream.webhook(clip.uid) else { return }
        if scenario.has(.webhookDelay), state.dice.chance(0.4) {
            try? await clock.sleep(for: state.dice.duration(0.1...30))
        }
        let copies = scenario.has(.webhookDuplicate) ? state.dice.int(1...3) : 1
        await withDiscardingTaskGroup { group in
            for copy in 1...copies {
                group.addTask { await self.send(body, trace: clip.number * 100 + number * 10 + copy) }
            }
        }
    }

    private func send(_ body: [UInt8], trace: Int) async {
        for attempt in 0..<6 {
            let clock = state.clock
            try? await clock.sleep(for: state.dice.duration(0.001...0.2))
            let status = await anyReplica()?.deliver(body, signedAt: clock.now(), trace: trace)
            state.note("webhook \(trace) \(status ?? 0)")
            if let status, (200..<300).contains(status) {
                watch.acknowledged(body)
                // An answer that is lost on its way back is as good as none to the sender.
                if !state.strikes(.lostAnswer) { return }
            }
            try? await clock.sleep(for: .seconds(1 << attempt))
        }
    }

    private func changeSource(_ clip: PlannedClip) async {
        for _ in 1...8 where scenario.has(.sourceChange) {
            try? await state.clock.sleep(for: state.dice.duration(0.5...6))
            if state.haveFaultsEnded { return }
            if state.dice.chance(0.4) {
                watch.struck(.sourceChange)
                upstream.media.change(clip.uid)
                state.note("the MP4 of \(clip.uid) is made anew")
            }
        }
    }

    // MARK: Operators and other programs

    func meddle() async {
        for _ in 1...6 where scenario.has(.operator) || scenario.has(.external) {
            try? await state.clock.sleep(for: state.dice.duration(1...12))
            if state.haveFaultsEnded { return }
            let uid = state.dice.pick(clips).uid
            if scenario.has(.operator), state.dice.chance(0.5) { await operate(uid) }
            if scenario.has(.external), state.dice.chance(0.5) { await request(uid) }
        }
    }

    private func operate(_ uid: ClipUID) async {
        guard let replica = anyReplica() else { return }
        watch.struck(.operator)
        let script = LedgerScript(policy: scenario.policy, now: replica.life.now)
        let action = state.dice.pick(Action.allCases)
        switch state.dice.int(0...3) {
        case 0:
            let request = Signal.Request.status(state.dice.pick(ClipStatus.allCases.filter { $0 != .complete }))
            _ = try? await replica.monitor.submit(Signal(uid: uid, source: .operator, request: request, trace: .fixed))
        case 1:
            _ = try? await replica.store.write { try script.expedite(uid, action, in: $0) }
            replica.monitor.wake()
        default:
            _ = try? await replica.monitor.submit(Signal(uid: uid, source: .operator, request: .retry, trace: .fixed))
        }
    }

    /// Writes `requested_status` into the row, beside the bridge.
    private func request(_ uid: ClipUID) async {
        let word = state.dice.pick(ClipStatus.allCases.map(\.rawValue) + ["uploaded", ""])
        if word == ClipStatus.complete.rawValue, state.dice.chance(0.7) { return }
        watch.struck(.external)
        state.note("\(uid) is asked to be \"\(word)\"")
        let outside = outside
        _ = try? await Scheduler.shared.exclusively {
            try await outside.write { transaction in
                guard var clip = try transaction.clip(uid), clip.isMet else { return }
                clip.details[DetailKey.requestedStatus] = .string(word)
                try transaction.restore(clip)
            }
        }
    }

    // MARK: Clocks

    func setClocks() async {
        for _ in 1...4 where scenario.has(.clockJump) {
            try? await state.clock.sleep(for: state.dice.duration(1...25))
            if state.haveFaultsEnded { return }
            guard let life = anyReplica()?.life else { continue }
            let jump = state.dice.duration(-120...120)
            watch.struck(.clockJump)
            state.note("the clock of \(life.owner) jumps by \(jump)")
            life.setClock(by: jump)
        }
    }
}
