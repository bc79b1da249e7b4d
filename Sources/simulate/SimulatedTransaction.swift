// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore

/// A transaction that passes everything on, takes notes of what is changed, and does a broken variant's harm.
struct SimulatedTransaction<Base: StoreTransaction>: StoreTransaction {
    private let base: Base
    private let life: Life
    private let world: WorldState
    private let notes = TransactionNotes()

    init(_ base: Base, life: Life, world: WorldState) {
        self.base = base
        self.life = life
        self.world = world
    }

    private var variant: Variant? { world.scenario.variant }

    /// What the watch wants to know of it, read before its end.
    func changes() throws -> TransactionNotes.Changes {
        var changes = notes.changes
        for uid in notes.touched.sorted() { changes.clips.append((uid, try base.clip(uid))) }
        return changes
    }

    var now: Timestamp? { world.scenario.replicas > 1 ? world.clock.now() : nil }
    func lock(_ uids: [ClipUID]) throws { try base.lock(uids) }

    // MARK: Clips

    func clip(_ uid: ClipUID) throws -> ClipRecord? {
        guard variant == .staleRead, world.dice.chance(0.05), let old = world.watch.clipBefore(uid) else {
            return try base.clip(uid)
        }
        return old
    }

    func clips(status: ClipStatus?, before: Int64?, limit: Int) throws -> [ClipRecord] {
        try base.clips(status: status, before: before, limit: limit)
    }

    func clips(changedAfter seq: Int64, limit: Int) throws -> [ClipRecord] {
        try base.clips(changedAfter: seq, limit: limit)
    }

    func clipCounts() throws -> [ClipStatus: Int] { try base.clipCounts() }
    func longestInStage() throws -> [ClipStatus: Timestamp] { try base.longestInStage() }
    func statusTimes(of uids: [ClipUID]) throws -> [ClipUID: Timestamp] { try base.statusTimes(of: uids) }
    func activity(at now: Timestamp) throws -> StoreActivity { try base.activity(at: now) }
    func lastChangeSeq() throws -> Int64 { try base.lastChangeSeq() }

    func insertClip(_ uid: ClipUID, machine: ClipStateMachine, patch: Details, at now: Timestamp) throws -> String? {
        notes.touched.insert(uid)
        return try base.insertClip(uid, machine: machine, patch: patch, at: now)
    }

    func updateClip(
        _ uid: ClipUID, from: ClipStatus, machine: ClipStateMachine, patch: Details, at now: Timestamp
    ) throws -> ClipUpdateResult {
        notes.touched.insert(uid)
        var machine = machine
        if variant == .progressAnew, case .at(let status) = machine.position, status != .error {
            machine = ClipStateMachine(
                position: machine.position, failedFrom: machine.failedFrom, progress: status.leastProgress)
        }
        let from = variant == .staleRead ? try base.clip(uid)?.status ?? from : from
        return try base.updateClip(uid, from: from, machine: machine, patch: patch, at: now)
    }

    // MARK: Rows of an adopted table

    func unmetClips(after: ClipUID?, limit: Int) throws -> [ClipRecord] {
        try base.unmetClips(after: after, limit: limit)
    }

    func requestingRows(limit: Int) throws -> [RequestingRow] { try base.requestingRows(limit: limit) }
    func clearRequest(uid: String) throws -> Bool { try base.clearRequest(uid: uid) }
    func foreignRowCount() throws -> Int { try base.foreignRowCount() }

    // MARK: Deliveries

    func insertDelivery(_ delivery: NewDelivery) throws -> (id: Int64, isDuplicate: Bool) {
        let (id, isDuplicate) = try base.insertDelivery(delivery)
        if !isDuplicate { notes.changes.bodies.append(delivery.body) }
        return (id, isDuplicate)
    }

    func delivery(_ id: Int64) throws -> DeliveryRecord? { try base.delivery(id) }

    func deliveries(uid: ClipUID?, before: Int64?, limit: Int) throws -> [DeliveryRecord] {
        try base.deliveries(uid: uid, before: before, limit: limit)
    }

    func deleteDeliveries(receivedBefore: Timestamp, limit: Int) throws -> Int {
        try base.deleteDeliveries(receivedBefore: receivedBefore, limit: limit)
    }

    // MARK: Ledger

    func insertSignal(_ signal: Signal, delivery: Int64?, at now: Timestamp) throws -> Int64 {
        switch signal.source {
        case .poll, .pipeline:
            // Of a dead process, and by nobody's lease.
            if signal.details[.errorCode] != "quarantined" { try noteLeasedWrite(signal.uid) }
        case .webhook, .operator, .external:
            break
        }
        notes.changes.signals += 1
        return try base.insertSignal(signal, delivery: delivery, at: now)
    }

    func entry(_ seq: Int64) throws -> LedgerEntry? { try base.entry(seq) }
    var keepsSignalsWaiting: Bool { base.keepsSignalsWaiting }
    func takeWaiting(limit: Int) throws -> [WaitingSignal] { try base.takeWaiting(limit: limit) }
    func takeWaiting(of uid: ClipUID) throws -> [WaitingSignal] { try base.takeWaiting(of: uid) }
    func oldestUndecided() throws -> Timestamp? { try base.oldestUndecided() }
    func pendingEntries(limit: Int) throws -> [LedgerEntry] { try base.pendingEntries(limit: limit) }
    func pendingEntries(of uid: ClipUID) throws -> [LedgerEntry] { try base.pendingEntries(of: uid) }

    func settleEntry(_ entry: LedgerEntry, epoch: Int64?, at now: Timestamp) throws {
        notes.changes.settled.append(entry)
        notes.touched.insert(entry.signal.uid)
        if variant == .forgetDecision, world.dice.chance(0.1) { return }
        if variant == .stepBack { try stepBack(entry, at: now) }
        try base.settleEntry(entry, epoch: epoch, at: now)
    }

    private func stepBack(_ entry: LedgerEntry, at now: Timestamp) throws {
        guard entry.reason == .backward, case .status(let wanted) = entry.signal.request, let present = entry.from,
            wanted.order == present.order - 1, let clip = try base.clip(entry.signal.uid)
        else { return }
        let machine = ClipStateMachine(position: .at(wanted), failedFrom: nil, progress: clip.progress)
        _ = try base.updateClip(entry.signal.uid, from: present, machine: machine, patch: [:], at: now)
    }

    func history(of uid: ClipUID) throws -> [LedgerEntry] { try base.history(of: uid) }
    func uids(after: String?, limit: Int) throws -> [String] { try base.uids(after: after, limit: limit) }

    // MARK: Work

    func work(of uid: ClipUID) throws -> Work? { try base.work(of: uid) }

    func putWork(_ work: Work) throws {
        try noteLease(work.uid)
        notes.changes.leases.append((work.uid, try base.work(of: work.uid), work))
        if variant == .forgetWork, work.action == .checkMP4, work.lease == nil, world.dice.chance(0.3) {
            return try base.removeWork(of: work.uid)
        }
        try base.putWork(work)
    }

    func removeWork(of uid: ClipUID) throws {
        try noteLease(uid)
        try base.removeWork(of: uid)
    }

    func dueWork(_ actions: [Action], at now: Timestamp, limit: Int) throws -> [Work] {
        let due = try base.dueWork(actions, at: now, limit: limit)
        guard variant == .claimLeased, due.isEmpty else { return due }
        let leased = try base.clips(status: nil, before: nil, limit: 100).compactMap(\.work)
        return leased.filter { $0.lease != nil && actions.contains($0.action) && $0.lease?.owner != life.owner }
    }

    func nextDue(_ actions: [Action]) throws -> Timestamp? { try base.nextDue(actions) }

    func expiredWork(at now: Timestamp, until end: Timestamp, limit: Int) throws -> [Work] {
        try base.expiredWork(at: now, until: end, limit: limit)
    }

    func renewLeases(owner: String, epochs: Set<Int64>, until: Timestamp) throws {
        if variant == .forgetRenewal { return }
        try base.renewLeases(owner: owner, epochs: epochs, until: until)
    }

    func endLeases(exceptOf owner: String, at now: Timestamp) throws {
        try base.endLeases(exceptOf: owner, at: now)
    }

    func nextEpoch() throws -> Int64 { variant == .forgetEpoch ? 1 : try base.nextEpoch() }

    // MARK: Transfers

    func transfer(of uid: ClipUID) throws -> TransferRecord? {
        guard var record = try base.transfer(of: uid) else { return nil }
        let place = record.spoolHost.split(separator: "@")
        if variant == .trustSpool || "@\(place.last ?? "")" == life.machine { record.spoolHost = String(place[0]) }
        return record
    }

    func transfers() throws -> [ClipUID: TransferRecord] { try base.transfers() }

    func putTransfer(_ transfer: TransferRecord, of uid: ClipUID) throws {
        try noteLeasedWrite(uid)
        var transfer = transfer
        transfer.spoolHost += life.machine
        try base.putTransfer(transfer, of: uid)
    }

    func putTransferPart(_ part: TransferPart, of uid: ClipUID) throws {
        try noteLeasedWrite(uid)
        try base.putTransferPart(part, of: uid)
    }

    func removeTransfer(of uid: ClipUID) throws { try base.removeTransfer(of: uid) }

    // MARK: Outbox

    func insertMessage(_ message: OutboxMessage) throws { try base.insertMessage(message) }
    func dueMessages(to target: String, at now: Timestamp, limit: Int) throws -> [OutboxMessage] {
        try base.dueMessages(to: target, at: now, limit: limit)
    }
    func nextMessageDue(to target: String) throws -> Timestamp? { try base.nextMessageDue(to: target) }
    func putMessage(_ message: OutboxMessage, heldUnder epoch: Int64?) throws -> Bool {
        try base.putMessage(message, heldUnder: epoch)
    }
    func removeMessage(_ id: Int64, heldUnder epoch: Int64) throws -> Bool {
        try base.removeMessage(id, heldUnder: epoch)
    }
    func messageCounts() throws -> [String: Int] { try base.messageCounts() }
    func removeMessages(exceptTo targets: [String]) throws -> Int { try base.removeMessages(exceptTo: targets) }
    func endMessageLeases(exceptOf owner: String, at now: Timestamp) throws {
        try base.endMessageLeases(exceptOf: owner, at: now)
    }
    func messages(after id: Int64, limit: Int) throws -> [OutboxMessage] {
        try base.messages(after: id, limit: limit)
    }

    // MARK: Copies

    func counters() throws -> StoreCounters { try base.counters() }
    func raiseCounters(to counters: StoreCounters) throws { try base.raiseCounters(to: counters) }

    func storedDeliveries(after id: Int64, limit: Int) throws -> [StoredDelivery] {
        try base.storedDeliveries(after: id, limit: limit)
    }

    func storedEntries(after seq: Int64, limit: Int) throws -> [StoredEntry] {
        try base.storedEntries(after: seq, limit: limit)
    }

    func restore(_ delivery: StoredDelivery) throws { try base.restore(delivery) }
    func restore(_ entry: StoredEntry) throws { try base.restore(entry) }
    func restore(_ clip: ClipRecord) throws { try base.restore(clip) }

    // MARK: Notes

    /// The lease that the clip's work had before this transaction changed it.
    private func noteLease(_ uid: ClipUID) throws {
        if notes.leasesBefore[uid] == nil { notes.leasesBefore[uid] = .some(try base.work(of: uid)?.lease) }
    }

    /// A write that only the lease's holder may do.
    private func noteLeasedWrite(_ uid: ClipUID) throws {
        try noteLease(uid)
        notes.changes.leasedWrites.append((uid, notes.leasesBefore[uid]??.owner))
    }
}

/// What one transaction has changed; used within it alone.
final class TransactionNotes {
    struct Changes: Sendable {
        var clips: [(uid: ClipUID, record: ClipRecord?)] = []
        /// Of deliveries that were not there before.
        var bodies: [[UInt8]] = []
        var signals = 0
        var settled: [LedgerEntry] = []
        var leases: [(uid: ClipUID, before: Work?, after: Work)] = []
        /// With the owner whose lease it was.
        var leasedWrites: [(uid: ClipUID, owner: String?)] = []

        var isEmpty: Bool { clips.isEmpty && signals == 0 && leases.isEmpty }
    }

    var touched: Set<ClipUID> = []
    var leasesBefore: [ClipUID: Lease?] = [:]
    var changes = Changes()
}
