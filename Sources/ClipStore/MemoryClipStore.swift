// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle
import NIOConcurrencyHelpers

/// A store that forgets: for tests and simulations. "Durable" means here that the transaction is over.
public final class MemoryClipStore: ClipStore {
    private let state = NIOLockedValueBox(MemoryState())

    public init() {}

    public func migrate() async throws {}
    public func checkReady() async throws {}
    public func foreignWritesSinceLastCall() async throws -> Bool { true }
    public func close() async throws {}

    public func read<Value: Sendable>(
        _ body: @Sendable @escaping (MemoryTransaction) throws -> Value
    ) async throws -> Value {
        try body(MemoryTransaction(state.withLockedValue { $0 }))
    }

    public func write<Value: Sendable>(
        _ body: @Sendable @escaping (MemoryTransaction) throws -> Value
    ) async throws -> Value {
        try commit(body)
    }

    private func commit<Value>(_ body: (MemoryTransaction) throws -> Value) throws -> Value {
        try state.withLockedValue { state in
            let transaction = MemoryTransaction(state)
            let value = try body(transaction)
            state = transaction.state
            return value
        }
    }

    public func record(
        _ delivery: NewDelivery, onEnd: @escaping @Sendable (Result<DeliveryReceipt, any Error>) -> Void
    ) {
        onEnd(Result { try commit { try LedgerScript.record(delivery, in: $0) } })
    }

    /// Puts a row into the `clips` table as another program would.
    public func insertForeignRow(uid: String, status: String?, details: Details = [:]) {
        state.withLockedValue { $0.rows[uid] = MemoryRow(status: status, details: details) }
    }
}

struct MemoryRow: Sendable {
    var status: String?
    var details: Details
}

/// What the bridge keeps beside a row.
struct MemoryClip: Sendable {
    var failedFrom: ClipStatus?
    var progress: Double
    var createdAt: Timestamp
    var updatedAt: Timestamp
    var changeSeq: Int64
}

struct MemoryState: Sendable {
    var rows: [String: MemoryRow] = [:]
    var clips: [ClipUID: MemoryClip] = [:]
    var deliveries: [DeliveryRecord] = []
    var deliveryBySHA256: [[UInt8]: Int64] = [:]
    var deliveryCount: Int64 = 0
    var ledger: [LedgerEntry] = []
    var pending: Set<Int64> = []
    var work: [ClipUID: Work] = [:]
    var transfers: [ClipUID: TransferRecord] = [:]
    /// In the order of their ids.
    var outbox: [OutboxMessage] = []
    var messageID: Int64 = 0
    var changeSeq: Int64 = 0
    var epoch: Int64 = 0
}

/// A transaction on a copy of the memory store's state.
public final class MemoryTransaction: StoreTransaction {
    var state: MemoryState

    init(_ state: MemoryState) { self.state = state }

    // MARK: Clips

    public func clip(_ uid: ClipUID) -> ClipRecord? {
        guard let row = state.rows[uid.rawValue] else { return nil }
        let beside = state.clips[uid]
        return ClipRecord(
            uid: uid, statusWord: row.status, details: row.details, failedFrom: beside?.failedFrom,
            progress: beside?.progress ?? 0, createdAt: beside?.createdAt ?? Timestamp(milliseconds: 0),
            updatedAt: beside?.updatedAt ?? Timestamp(milliseconds: 0), changeSeq: beside?.changeSeq ?? 0,
            work: state.work[uid], isMet: beside != nil)
    }

    private var metClips: [ClipRecord] { state.clips.keys.compactMap(clip) }

    public func clips(status: ClipStatus?, before: Int64?, limit: Int) -> [ClipRecord] {
        let found = metClips.filter {
            (status == nil || $0.status == status) && $0.changeSeq < before ?? .max
        }
        return Array(found.sorted { $0.changeSeq > $1.changeSeq }.prefix(limit))
    }

    public func clips(changedAfter seq: Int64, limit: Int) -> [ClipRecord] {
        Array(metClips.filter { $0.changeSeq > seq }.sorted { $0.changeSeq < $1.changeSeq }.prefix(limit))
    }

    public func clipCounts() -> [ClipStatus: Int] {
        metClips.reduce(into: [:]) { counts, clip in
            if let status = clip.status { counts[status, default: 0] += 1 }
        }
    }

    public func longestInStage() -> [ClipStatus: Timestamp] {
        state.work.values.reduce(into: [:]) { entered, work in
            guard let status = clip(work.uid)?.status else { return }
            entered[status] = min(entered[status] ?? work.stageEnteredAt, work.stageEnteredAt)
        }
    }

    public func lastChangeSeq() -> Int64 { state.changeSeq }

    public func statusTimes(of uids: [ClipUID]) -> [ClipUID: Timestamp] {
        let wanted = Set(uids)
        return state.ledger.reduce(into: [:]) { times, entry in
            if entry.outcome == .applied, wanted.contains(entry.signal.uid) { times[entry.signal.uid] = entry.at }
        }
    }

    public func activity(at now: Timestamp) -> StoreActivity {
        func count(_ span: Duration) -> Int { state.deliveries.count { now - $0.receivedAt <= span } }
        return StoreActivity(
            deliveriesLastMinute: count(.seconds(60)), deliveriesLastFiveMinutes: count(.seconds(300)),
            lastDeliveryAt: state.deliveries.map(\.receivedAt).max(),
            runningTransfers: state.work.values.count { $0.action == .transfer && $0.lease != nil },
            longestWork: state.work.values.min { ($0.stageEnteredAt, $0.uid) < ($1.stageEnteredAt, $1.uid) })
    }

    public func insertClip(
        _ uid: ClipUID, machine: ClipStateMachine, patch: Details, at now: Timestamp
    ) -> String? {
        guard case .at(let status) = machine.position else { return "a clip needs a status" }
        var row = state.rows[uid.rawValue] ?? MemoryRow(status: nil, details: [:])
        row.status = status.rawValue
        row.details.merge(patch: patch)
        state.rows[uid.rawValue] = row
        state.changeSeq += 1
        state.clips[uid] = MemoryClip(
            failedFrom: machine.failedFrom, progress: machine.progress, createdAt: now, updatedAt: now,
            changeSeq: state.changeSeq)
        return nil
    }

    public func updateClip(
        _ uid: ClipUID, from: ClipStatus, machine: ClipStateMachine, patch: Details, at now: Timestamp
    ) -> ClipUpdateResult {
        guard case .at(let status) = machine.position, var row = state.rows[uid.rawValue],
            row.status == from.rawValue, var beside = state.clips[uid]
        else { return .outdated }
        row.status = status.rawValue
        row.details.merge(patch: patch)
        state.rows[uid.rawValue] = row
        state.changeSeq += 1
        beside.failedFrom = machine.failedFrom
        beside.progress = machine.progress
        beside.updatedAt = now
        beside.changeSeq = state.changeSeq
        state.clips[uid] = beside
        return .updated
    }

    // MARK: Rows of an adopted table

    public func unmetClips(after: ClipUID?, limit: Int) -> [ClipRecord] {
        let unmet = state.rows.keys.sorted().compactMap(ClipUID.init)
            .filter { state.clips[$0] == nil && $0.rawValue > after?.rawValue ?? "" }
        return Array(unmet.compactMap(clip).filter { $0.status != nil }.prefix(limit))
    }

    public func requestingRows(limit: Int) -> [RequestingRow] {
        let asking = state.rows.filter { $0.value.details[DetailKey.requestedStatus] != nil }
        return asking.sorted { $0.key < $1.key }.prefix(limit).map {
            RequestingRow(uid: $0.key, requestedStatus: $0.value.details[DetailKey.requestedStatus]?.stringValue)
        }
    }

    public func clearRequest(uid: String) -> Bool {
        state.rows[uid]?.details[DetailKey.requestedStatus] = nil
        state.rows[uid]?.details[DetailKey.statusRequestTime] = nil
        return true
    }

    public func foreignRowCount() -> Int {
        state.rows.count { ClipUID($0.key) == nil || $0.value.status.flatMap(ClipStatus.init(rawValue:)) == nil }
    }

    // MARK: Deliveries

    public func insertDelivery(_ delivery: NewDelivery) -> (id: Int64, isDuplicate: Bool) {
        if let first = state.deliveryBySHA256[delivery.bodySHA256] { return (first, true) }
        state.deliveryCount += 1
        let id = state.deliveryCount
        state.deliveryBySHA256[delivery.bodySHA256] = id
        state.deliveries.append(
            DeliveryRecord(
                id: id, receivedAt: delivery.receivedAt, signedAt: delivery.signedAt,
                signatureHeader: delivery.signatureHeader, body: delivery.body, uid: delivery.uid,
                outcome: delivery.outcome))
        return (id, false)
    }

    public func delivery(_ id: Int64) -> DeliveryRecord? { state.deliveries.first { $0.id == id } }

    public func deliveries(uid: ClipUID?, before: Int64?, limit: Int) -> [DeliveryRecord] {
        let found = state.deliveries.reversed().filter {
            (uid == nil || $0.uid == uid) && $0.id < before ?? .max
        }
        return Array(found.prefix(limit))
    }

    public func deleteDeliveries(receivedBefore limitTime: Timestamp, limit: Int) -> Int {
        let old = Set(state.deliveries.filter { $0.receivedAt < limitTime }.prefix(limit).map(\.id))
        state.deliveries.removeAll { old.contains($0.id) }
        state.deliveryBySHA256 = state.deliveryBySHA256.filter { !old.contains($0.value) }
        return old.count
    }

    // MARK: Ledger

    public func insertSignal(_ signal: Signal, delivery: Int64?, at now: Timestamp) -> Int64 {
        let seq = Int64(state.ledger.count) + 1
        state.ledger.append(LedgerEntry(seq: seq, at: now, signal: signal, delivery: delivery.map(String.init)))
        state.pending.insert(seq)
        return seq
    }

    public func entry(_ seq: Int64) -> LedgerEntry? {
        (1...Int64(max(state.ledger.count, 1))).contains(seq) && !state.ledger.isEmpty
            ? state.ledger[Int(seq) - 1] : nil
    }

    public func pendingEntries(limit: Int) -> [LedgerEntry] {
        state.pending.sorted().prefix(limit).compactMap(entry)
    }

    public func pendingEntries(of uid: ClipUID) -> [LedgerEntry] {
        state.pending.sorted().compactMap(entry).filter { $0.signal.uid == uid }
    }

    public func settleEntry(_ entry: LedgerEntry, epoch: Int64?, at now: Timestamp) {
        state.ledger[Int(entry.seq) - 1] = entry
        state.pending.remove(entry.seq)
    }

    public func history(of uid: ClipUID) -> [LedgerEntry] { state.ledger.filter { $0.signal.uid == uid } }

    public func uids(after: String?, limit: Int) -> [String] {
        let all = Set(state.rows.keys).union(state.ledger.map(\.signal.uid.rawValue))
        return Array(all.filter { $0 > after ?? "" }.sorted().prefix(limit))
    }

    // MARK: Work

    public func work(of uid: ClipUID) -> Work? { state.work[uid] }
    public func putWork(_ work: Work) { state.work[work.uid] = work }
    public func removeWork(of uid: ClipUID) { state.work[uid] = nil }

    private func unclaimed(_ actions: [Action]) -> [Work] {
        state.work.values.filter { $0.lease == nil && actions.contains($0.action) }
    }

    public func dueWork(_ actions: [Action], at now: Timestamp, limit: Int) -> [Work] {
        let due = unclaimed(actions).filter { $0.dueAt <= now }
        return Array(due.sorted { ($0.dueAt, $0.uid) < ($1.dueAt, $1.uid) }.prefix(limit))
    }

    public func nextDue(_ actions: [Action]) -> Timestamp? { unclaimed(actions).map(\.dueAt).min() }

    public func expiredWork(at now: Timestamp, until end: Timestamp, limit: Int) -> [Work] {
        let dead = Set(
            state.work.values.filter { ($0.lease?.until).map { $0 <= now } ?? false }.map { $0.lease?.owner })
        let expired = state.work.values.filter {
            ($0.lease?.until).map { $0 <= end } ?? false && dead.contains($0.lease?.owner)
        }
        return Array(expired.sorted { $0.uid < $1.uid }.prefix(limit))
    }

    public func renewLeases(owner: String, epochs: Set<Int64>, until: Timestamp) {
        setLeases(until) { $0.owner == owner && epochs.contains($0.epoch) }
    }

    public func endLeases(exceptOf owner: String, at now: Timestamp) {
        setLeases(now) { $0.owner != owner }
    }

    private func setLeases(_ until: Timestamp, where isMeant: (Lease) -> Bool) {
        for (uid, work) in state.work where work.lease.map(isMeant) ?? false { state.work[uid]?.lease?.until = until }
    }

    public func nextEpoch() -> Int64 {
        state.epoch += 1
        return state.epoch
    }

    // MARK: Transfers

    public func transfer(of uid: ClipUID) -> TransferRecord? { state.transfers[uid] }
    public func transfers() -> [ClipUID: TransferRecord] { state.transfers }
    public func putTransfer(_ transfer: TransferRecord, of uid: ClipUID) { state.transfers[uid] = transfer }

    public func putTransferPart(_ part: TransferPart, of uid: ClipUID) {
        state.transfers[uid]?.parts.removeAll { $0.number == part.number }
        state.transfers[uid]?.parts.append(part)
        state.transfers[uid]?.parts.sort { $0.number < $1.number }
    }

    public func removeTransfer(of uid: ClipUID) { state.transfers[uid] = nil }

    // MARK: Outbox

    public func insertMessage(_ message: OutboxMessage) {
        guard !state.outbox.contains(where: { $0.target == message.target && $0.source == message.source }) else {
            return
        }
        state.messageID += 1
        var message = message
        message.id = state.messageID
        state.outbox.append(message)
    }

    /// The oldest of each clip.
    private func heads(to target: String) -> [OutboxMessage] {
        var seen: Set<ClipUID?> = []
        return state.outbox.filter { $0.target == target && seen.insert($0.uid).inserted }
    }

    public func dueMessages(to target: String, at now: Timestamp, limit: Int) -> [OutboxMessage] {
        let due = heads(to: target).filter { $0.dueAt <= now }
        return Array(due.sorted { ($0.dueAt, $0.id) < ($1.dueAt, $1.id) }.prefix(limit))
    }

    public func nextMessageDue(to target: String) -> Timestamp? { heads(to: target).map(\.dueAt).min() }

    private func index(of id: Int64, heldUnder epoch: Int64?) -> Int? {
        state.outbox.firstIndex { $0.id == id && $0.lease?.epoch == epoch }
    }

    public func putMessage(_ message: OutboxMessage, heldUnder epoch: Int64?) -> Bool {
        guard let index = index(of: message.id, heldUnder: epoch) else { return false }
        state.outbox[index].dueAt = message.dueAt
        state.outbox[index].attempt = message.attempt
        state.outbox[index].lease = message.lease
        return true
    }

    public func removeMessage(_ id: Int64, heldUnder epoch: Int64) -> Bool {
        guard let index = index(of: id, heldUnder: epoch) else { return false }
        state.outbox.remove(at: index)
        return true
    }

    public func messageCounts() -> [String: Int] {
        state.outbox.reduce(into: [:]) { $0[$1.target, default: 0] += 1 }
    }

    public func removeMessages(exceptTo targets: [String]) -> Int {
        let before = state.outbox.count
        state.outbox.removeAll { !targets.contains($0.target) }
        return before - state.outbox.count
    }

    public func endMessageLeases(exceptOf owner: String, at now: Timestamp) {
        for index in state.outbox.indices where state.outbox[index].lease.map({ $0.owner != owner }) ?? false {
            state.outbox[index].lease = nil
            state.outbox[index].dueAt = now
        }
    }

    public func messages(after id: Int64, limit: Int) -> [OutboxMessage] {
        Array(state.outbox.filter { $0.id > id }.prefix(limit))
    }

    // MARK: Copies

    public func counters() -> StoreCounters {
        StoreCounters(
            delivery: state.deliveryCount, entry: Int64(state.ledger.count), change: state.changeSeq,
            epoch: state.epoch)
    }

    public func raiseCounters(to counters: StoreCounters) {
        state.deliveryCount = max(state.deliveryCount, counters.delivery)
        state.changeSeq = max(state.changeSeq, counters.change)
        state.epoch = max(state.epoch, counters.epoch)
    }

    public func storedDeliveries(after id: Int64, limit: Int) -> [StoredDelivery] {
        let hashes = Dictionary(uniqueKeysWithValues: state.deliveryBySHA256.map { ($0.value, $0.key) })
        let found = state.deliveries.filter { $0.id > id }.sorted { $0.id < $1.id }.prefix(limit)
        return found.map { StoredDelivery(record: $0, bodySHA256: hashes[$0.id] ?? []) }
    }

    public func storedEntries(after seq: Int64, limit: Int) -> [StoredEntry] {
        state.ledger.filter { $0.seq > seq }.prefix(limit).map { StoredEntry(entry: $0, epoch: nil, decidedAt: nil) }
    }

    public func restore(_ delivery: StoredDelivery) {
        state.deliveries.removeAll { $0.id == delivery.record.id }
        state.deliveries.append(delivery.record)
        state.deliveryBySHA256[delivery.bodySHA256] = delivery.record.id
        state.deliveryCount = max(state.deliveryCount, delivery.record.id)
    }

    /// The ledger's numbers are its indices here, and it is copied without a gap.
    public func restore(_ entry: StoredEntry) {
        let index = Int(entry.entry.seq) - 1
        if index < state.ledger.count { state.ledger[index] = entry.entry } else { state.ledger.append(entry.entry) }
        if entry.entry.outcome == nil {
            state.pending.insert(entry.entry.seq)
        } else {
            state.pending.remove(entry.entry.seq)
        }
    }

    public func restore(_ clip: ClipRecord) {
        state.rows[clip.uid.rawValue] = MemoryRow(status: clip.statusWord, details: clip.details)
        state.clips[clip.uid] = MemoryClip(
            failedFrom: clip.failedFrom, progress: clip.progress, createdAt: clip.createdAt, updatedAt: clip.updatedAt,
            changeSeq: clip.changeSeq)
        state.work[clip.uid] = clip.work
        state.changeSeq = max(state.changeSeq, clip.changeSeq)
    }
}
