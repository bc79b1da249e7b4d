// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import NIOConcurrencyHelpers

/// Looks on and finds what must not be. It knows the rules by itself, or from the pure machine, and nothing from the
/// parts that it watches.
final class Watch: Sendable {
    struct Clip: Sendable {
        var machine = ClipStateMachine(position: .absent)
        var record: ClipRecord?
        var before: ClipRecord?
    }

    private struct State: Sendable {
        var violation: String?
        var clips: [ClipUID: Clip] = [:]
        var stored: Set<[UInt8]> = []
        var acknowledged: Set<[UInt8]> = []
        var strikes: [Fault: Int] = [:]
        var lives: [String: Life] = [:]
        var lastCompletion: [ClipUID: SignalSource] = [:]
        var outsideMoves: [ClipUID: Int] = [:]
    }

    private let scenario: Scenario
    private let state = NIOLockedValueBox(State())

    init(_ scenario: Scenario) { self.scenario = scenario }

    // MARK: What happened

    var violation: String? { state.withLockedValue(\.violation) }

    /// Only the first one counts.
    func found(_ text: String) { state.withLockedValue { $0.violation = $0.violation ?? text } }

    func struck(_ fault: Fault) { state.withLockedValue { $0.strikes[fault, default: 0] += 1 } }
    func strikes(_ faults: Fault...) -> Int {
        state.withLockedValue { state in faults.reduce(0) { $0 + state.strikes[$1, default: 0] } }
    }

    func born(_ life: Life) { state.withLockedValue { $0.lives[life.owner] = life } }

    func clipBefore(_ uid: ClipUID) -> ClipRecord? { state.withLockedValue { $0.clips[uid]?.before } }
    func lastCompletion(of uid: ClipUID) -> SignalSource? { state.withLockedValue { $0.lastCompletion[uid] } }
    func outsideMoves(of uid: ClipUID) -> Int { state.withLockedValue { $0.outsideMoves[uid, default: 0] } }
    var acknowledged: Set<[UInt8]> { state.withLockedValue(\.acknowledged) }

    // MARK: Acknowledged is stored

    func acknowledged(_ body: [UInt8]) {
        let isStored = state.withLockedValue { state in
            state.acknowledged.insert(body)
            return state.stored.contains(body)
        }
        if !isStored { found("a delivery was acknowledged before it was stored") }
    }

    // MARK: Commits

    func committed(_ changes: TransactionNotes.Changes, by life: Life) {
        if life.isDead { found("a dead process has written") }
        for body in changes.bodies {
            let isNew = state.withLockedValue { $0.stored.insert(body).inserted }
            if !isNew { found("a delivery was stored twice") }
        }
        for write in changes.leasedWrites where write.owner != life.owner {
            found("\(life.owner) wrote of clip \(write.uid) under a lease of \(write.owner ?? "nobody")")
        }
        for change in changes.leases { check(change, by: life) }
        changes.settled.forEach(check)
        for (uid, record) in changes.clips { check(uid, record) }
    }

    private func check(_ change: (uid: ClipUID, before: Work?, after: Work), by life: Life) {
        guard let before = change.before, let held = before.lease else { return }
        if let taken = change.after.lease, taken.epoch != held.epoch || taken.owner != held.owner {
            found("\(life.owner) claimed clip \(change.uid), which \(held.owner) holds")
        }
        if change.after.lease == nil, change.after.crashes > before.crashes {
            let owner = state.withLockedValue { $0.lives[held.owner] }
            // Nobody could prolong a lease while the store failed or time was not what it seemed.
            let isExplained = owner?.isTroubled ?? true || life.isTroubled
            if !isExplained { found("\(life.owner) took clip \(change.uid) from \(held.owner), who is alive and well") }
        }
    }

    // MARK: Decisions

    private func check(_ entry: LedgerEntry) {
        let uid = entry.signal.uid
        var machine = state.withLockedValue { $0.clips[uid, default: Clip()].machine }
        if entry.outcome == .applied {
            checkMove(entry)
            if entry.from == nil { machine = ClipStateMachine(position: .absent) }
        }
        switch entry.reason {
        case .unknownClip, .unknownStatus:
            if entry.outcome != .rejected { found("entry \(entry.seq) has a reason and is not rejected") }
        case .backward, .terminal, nil:
            let before = machine
            var expected = entry
            expected.settle(machine.receive(entry.signal, createsUnknown: true), before: before)
            if expected != entry {
                found("entry \(entry.seq) of clip \(uid) was decided otherwise than the machine does: \(entry)")
            }
        }
        state.withLockedValue { [machine] state in
            state.clips[uid, default: Clip()].machine = machine
            if entry.outcome == .applied, entry.to == .complete { state.lastCompletion[uid] = entry.signal.source }
            switch entry.signal.source {
            case .operator, .external: state.outsideMoves[uid, default: 0] += 1
            case .webhook, .poll, .pipeline: break
            }
        }
    }

    /// The contract's order, in its own words.
    private func checkMove(_ entry: LedgerEntry) {
        guard let from = entry.from, let to = entry.to else { return }
        let isOutside = entry.signal.source == .operator || entry.signal.source == .external
        let isAllowed: Bool =
            switch (from, to) {
            case (.error, _): entry.signal.request == .retry && entry.signal.source == .operator
            case (.complete, .error): isOutside
            case (.complete, _): false
            case (_, .error), (.mp4Processing, .waitForMP4): true
            default: to.order > from.order
            }
        if !isAllowed {
            found("clip \(entry.signal.uid) went from \(from.rawValue) to \(to.rawValue) by \(entry.signal.source)")
        }
    }

    // MARK: Rows

    private func check(_ uid: ClipUID, _ record: ClipRecord?) {
        let clip = state.withLockedValue { state in
            let clip = state.clips[uid, default: Clip()]
            state.clips[uid]?.before = clip.record
            state.clips[uid]?.record = record
            return clip
        }
        guard case .at(let status) = clip.machine.position else { return }
        guard let record else { return found("clip \(uid) has no row any more") }
        if record.status != status {
            found("clip \(uid) is \"\(record.statusWord ?? "null")\", by its ledger it is \"\(status.rawValue)\"")
        }
        let progress = clip.record?.progress ?? 0
        if record.progress < progress { found("progress of clip \(uid) fell from \(progress) to \(record.progress)") }
    }

    var clips: [ClipUID: Clip] { state.withLockedValue(\.clips) }
}
