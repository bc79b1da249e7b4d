// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle

/// Where clips, deliveries, the ledger and the work are kept.
///
/// A store gives transactions over a few rows at a time; what happens in them (`LedgerScript`) is written once, for
/// all stores. What `write` and `record` return is durable.
public protocol ClipStore: DeliveryLedger {
    associatedtype Transaction: StoreTransaction

    /// Creates or migrates the bridge's own tables; refuses a newer schema and a `clips` table that does not serve.
    func migrate() async throws
    /// The schema is there and the store answers.
    func checkReady() async throws
    /// Whether other processes may work on the store at the same time.
    var isShared: Bool { get }
    /// Claims a store that only one process may have; a shared one is anybody's.
    /// - Throws: `StoreError` with `inUse` when another process has it.
    func takeOwnership() async throws
    /// Calls `onChange` when another process has stored something that is to be decided or done. Returns when the task
    /// is cancelled, or at once where no other process can.
    func watch(_ onChange: @escaping @Sendable () -> Void) async
    func read<Value: Sendable>(_ body: @Sendable @escaping (Transaction) throws -> Value) async throws -> Value
    func write<Value: Sendable>(_ body: @Sendable @escaping (Transaction) throws -> Value) async throws -> Value
    /// Whether another program may have written since the last call; true where the store can not tell.
    func foreignWritesSinceLastCall() async throws -> Bool
    func close() async throws
}

extension ClipStore {
    public var isShared: Bool { false }
    public func takeOwnership() async throws {}
    public func watch(_ onChange: @escaping @Sendable () -> Void) async {}
}

/// Small texts that the processes on a shared store keep together.
public protocol SharedTexts: Sendable {
    /// Runs `body` on the text of this name, which nobody else can change meanwhile, by the store's clock. Nil is no
    /// text.
    func withText<Value: Sendable>(
        _ name: String, _ body: @Sendable @escaping (inout String?, Timestamp) throws -> Value
    ) async throws -> Value
}

/// What became of a change of a clip.
public enum ClipUpdateResult: Sendable, Equatable {
    case updated
    /// The clip has not the status any more that the change starts from.
    case outdated
    /// The `clips` table does not take it, and why.
    case refused(String)
}

/// The rows of a store within one transaction. All uniqueness and every guard is the database's.
///
/// Where several transactions write at a time, each holds the clips that it writes, so that what it has read of a clip
/// is still so when it writes. It asks for a clip by `lock`; what looks for clips (`pendingEntries(limit:)`,
/// `unmetClips`, `requestingRows`, `dueWork`, `expiredWork`) gives, in a transaction that writes, only those that
/// nobody else holds, and holds them.
public protocol StoreTransaction {
    /// The store's own clock, by which leases run out where several machines share it; nil where the machine's own
    /// serves.
    var now: Timestamp? { get }
    /// Keeps other writers from these clips until the transaction ends. Whoever needs several asks for them in one
    /// call, before anything else, so that no two wait for each other.
    func lock(_ uids: [ClipUID]) throws

    // MARK: Clips

    /// The clip's row, met by the bridge or not.
    func clip(_ uid: ClipUID) throws -> ClipRecord?
    /// Whether the bridge has met the clip, or had met it before its row was removed.
    func isMet(_ uid: ClipUID) throws -> Bool
    /// Newest change first; `before` is the change sequence of the last one seen.
    func clips(status: ClipStatus?, before: Int64?, limit: Int) throws -> [ClipRecord]
    /// Oldest change first, after the given change sequence.
    func clips(changedAfter seq: Int64, limit: Int) throws -> [ClipRecord]
    func clipCounts() throws -> [ClipStatus: Int]
    /// When the clip that has been longest in its stage entered it, by the status that it has now. Only clips with work
    /// are looked at, so that it costs nothing that grows with what is done.
    func longestInStage() throws -> [ClipStatus: Timestamp]
    func lastChangeSeq() throws -> Int64
    /// When each of these clips came to its status; a clip that the ledger does not know is left out.
    func statusTimes(of uids: [ClipUID]) throws -> [ClipUID: Timestamp]
    /// What goes on at the moment; it costs the same however much is stored.
    func activity(at now: Timestamp) throws -> StoreActivity

    /// Creates the clip's row; where there is a row of an adopted table already, only the bridge's own part of it.
    /// - Returns: what forbids creating it, in words, or nil when it is there.
    func insertClip(_ uid: ClipUID, machine: ClipStateMachine, patch: Details, at now: Timestamp) throws -> String?
    /// Changes a clip that still has the status `from`; the patch is merged inside the database.
    func updateClip(
        _ uid: ClipUID, from: ClipStatus, machine: ClipStateMachine, patch: Details, at now: Timestamp
    ) throws -> ClipUpdateResult

    // MARK: Rows of an adopted table

    /// Rows with a valid uid and one of our statuses that the bridge has not met, in the order of their uids, after the
    /// given one; at most `limit`.
    func unmetClips(after: ClipUID?, limit: Int) throws -> [ClipRecord]
    /// Rows with a `requested_status`; at most `limit`.
    func requestingRows(limit: Int) throws -> [RequestingRow]
    /// Removes `requested_status` and `status_request_time` from a row.
    /// - Returns: false when the table does not let it be written.
    func clearRequest(uid: String) throws -> Bool
    /// Rows whose status is null or no word of ours, or whose uid is not valid.
    func foreignRowCount() throws -> Int

    // MARK: Deliveries

    /// - Returns: the id that it got, or that of the delivery with the same body that was there before.
    func insertDelivery(_ delivery: NewDelivery) throws -> (id: Int64, isDuplicate: Bool)
    func delivery(_ id: Int64) throws -> DeliveryRecord?
    /// Newest first; bodies included.
    func deliveries(uid: ClipUID?, before: Int64?, limit: Int) throws -> [DeliveryRecord]
    /// - Returns: how many were removed; at most `limit`.
    func deleteDeliveries(receivedBefore: Timestamp, limit: Int) throws -> Int

    // MARK: Ledger

    /// Whether a delivery's signal stays with its delivery until it is to be decided, and has no entry before.
    var keepsSignalsWaiting: Bool { get }
    /// The oldest signals that stay with their deliveries. They are given once: the caller puts them into the ledger.
    func takeWaiting(limit: Int) throws -> [WaitingSignal]
    /// All of a clip, oldest first.
    func takeWaiting(of uid: ClipUID) throws -> [WaitingSignal]
    /// When the oldest signal that is not decided came in.
    func oldestUndecided() throws -> Timestamp?
    func insertSignal(_ signal: Signal, delivery: Int64?, at now: Timestamp) throws -> Int64
    func entry(_ seq: Int64) throws -> LedgerEntry?
    /// Undecided entries of the ledger, oldest first.
    func pendingEntries(limit: Int) throws -> [LedgerEntry]
    func pendingEntries(of uid: ClipUID) throws -> [LedgerEntry]
    func settleEntry(_ entry: LedgerEntry, epoch: Int64?, at now: Timestamp) throws
    /// A clip's entries, oldest first.
    func history(of uid: ClipUID) throws -> [LedgerEntry]
    /// Uids in order, after the given one: clips and ledger together.
    func uids(after: String?, limit: Int) throws -> [String]

    // MARK: Work

    func work(of uid: ClipUID) throws -> Work?
    func putWork(_ work: Work) throws
    func removeWork(of uid: ClipUID) throws
    /// Work that is due and unclaimed, the longest due first.
    func dueWork(_ actions: [Action], at now: Timestamp, limit: Int) throws -> [Work]
    /// When the next unclaimed work of these actions is due.
    func nextDue(_ actions: [Action]) throws -> Timestamp?
    /// Work whose lease has run out, and with it what runs out until `end` of the same owners.
    func expiredWork(at now: Timestamp, until end: Timestamp, limit: Int) throws -> [Work]
    /// Prolongs the owner's leases of these epochs.
    func renewLeases(owner: String, epochs: Set<Int64>, until: Timestamp) throws
    /// Ends the leases of every other owner at this time.
    func endLeases(exceptOf owner: String, at now: Timestamp) throws
    func nextEpoch() throws -> Int64

    // MARK: Transfers

    func transfer(of uid: ClipUID) throws -> TransferRecord?
    func transfers() throws -> [ClipUID: TransferRecord]
    /// Writes the record with its parts, in the place of what was there.
    func putTransfer(_ transfer: TransferRecord, of uid: ClipUID) throws
    /// Adds one part, or replaces it.
    func putTransferPart(_ part: TransferPart, of uid: ClipUID) throws
    func removeTransfer(of uid: ClipUID) throws

    // MARK: Outbox

    /// Adds a message, whose id is the store's to give; the target's message of the same source that is there stays.
    func insertMessage(_ message: OutboxMessage) throws
    /// Messages to the target that are due and the oldest of their clip, the longest due first.
    func dueMessages(to target: String, at now: Timestamp, limit: Int) throws -> [OutboxMessage]
    /// When the next of the messages that are the oldest of their clip is due.
    func nextMessageDue(to target: String) throws -> Timestamp?
    /// Writes when it is due, its tries and its lease.
    /// - Parameter epoch: of the lease that it has to be held under, nil for none.
    /// - Returns: false when it is not.
    func putMessage(_ message: OutboxMessage, heldUnder epoch: Int64?) throws -> Bool
    func removeMessage(_ id: Int64, heldUnder epoch: Int64) throws -> Bool
    /// How many wait for each target.
    func messageCounts() throws -> [String: Int]
    /// Removes messages to other targets than these.
    /// - Returns: how many.
    func removeMessages(exceptTo targets: [String]) throws -> Int
    /// What every other owner has claimed is due again at this time.
    func endMessageLeases(exceptOf owner: String, at now: Timestamp) throws

    // MARK: Copies

    /// In the order of their numbers, after the given one.
    func messages(after id: Int64, limit: Int) throws -> [OutboxMessage]
    func counters() throws -> StoreCounters
    /// The store's next numbers are above these.
    func raiseCounters(to counters: StoreCounters) throws
    /// In the order of their numbers, after the given one.
    func storedDeliveries(after id: Int64, limit: Int) throws -> [StoredDelivery]
    func storedEntries(after seq: Int64, limit: Int) throws -> [StoredEntry]
    /// Writes rows of another store as they are, in the place of what was there.
    func restore(_ delivery: StoredDelivery) throws
    func restore(_ entry: StoredEntry) throws
    /// With its work.
    func restore(_ clip: ClipRecord) throws
}

/// Of a store in which only one transaction writes at a time, by this process' clock.
extension StoreTransaction {
    public var now: Timestamp? { nil }
    public func lock(_ uids: [ClipUID]) throws {}
    public func isMet(_ uid: ClipUID) throws -> Bool { try clip(uid)?.isMet ?? false }
    public var keepsSignalsWaiting: Bool { false }
    public func takeWaiting(limit: Int) throws -> [WaitingSignal] { [] }
    public func takeWaiting(of uid: ClipUID) throws -> [WaitingSignal] { [] }
    public func oldestUndecided() throws -> Timestamp? { try pendingEntries(limit: 1).first?.at }
}

/// What a store could not do.
public struct StoreError: Error, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// The database can not be reached, is locked or its disk is full: the same may succeed later.
        case unavailable
        /// A transaction of another program holds a clip's row: only this clip has to wait.
        case rowHeld = "row_held"
        /// Another bridge has the store.
        case inUse = "in_use"
        /// Nobody has made the schema yet.
        case noSchema = "no_schema"
        /// The schema is newer than this program.
        case newerSchema = "newer_schema"
        /// The `clips` table lacks something that the contract asks for.
        case unsuitableTable = "unsuitable_table"
        /// The database's role lacks a right.
        case forbidden
        case corrupt
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var isRetryable: Bool { code == .unavailable || code == .rowHeld }
    public var shortDescription: String { code.rawValue }
    public var description: String { message }
}
