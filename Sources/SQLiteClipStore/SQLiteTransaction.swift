// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle
public import ClipStore
import FoundationEssentials
import GRDB

/// The store's rows within one SQLite transaction. Statements are prepared once for each connection.
public struct SQLiteTransaction: StoreTransaction {
    /// The application's table refuses a row, and a part of the statement may have been done already: `FAIL` keeps what
    /// it has changed. Run again with savepoints, the refusal can be told from the rest.
    struct NeedsSavepoints: Error {}

    /// What has to be known of it once it is committed.
    struct Change: Sendable {
        var waiting = WaitingDeliveries.Change()
        var bodies = RecentBodies.Change()
    }

    let database: Database
    let schema: SQLiteSchema
    private let waiting: WaitingDeliveries
    private let bodies: RecentBodies
    private let usesSavepoints: Bool
    private let news = News()

    init(
        database: Database, schema: SQLiteSchema, waiting: WaitingDeliveries, bodies: RecentBodies, usesSavepoints: Bool
    ) {
        self.database = database
        self.schema = schema
        self.waiting = waiting
        self.bodies = bodies
        self.usesSavepoints = usesSavepoints
    }

    private func execute(_ sql: String, _ arguments: StatementArguments = []) throws {
        try database.cachedStatement(sql: sql).execute(arguments: arguments)
    }

    private func rows(_ sql: String, _ arguments: StatementArguments = []) throws -> [Row] {
        try Row.fetchAll(try database.cachedStatement(sql: sql), arguments: arguments)
    }

    private func row(_ sql: String, _ arguments: StatementArguments = []) throws -> Row? {
        try Row.fetchOne(try database.cachedStatement(sql: sql), arguments: arguments)
    }

    /// Each row as it is read, without a copy of it. What decodes it takes columns by their place: their names are
    /// looked up by their lower-cased text, which costs more than the reading.
    private func all<Value>(
        _ sql: String, _ arguments: StatementArguments = [], _ decode: (Row) throws -> Value?
    ) throws -> [Value] {
        let cursor = try Row.fetchCursor(try database.cachedStatement(sql: sql), arguments: arguments)
        var values: [Value] = []
        while let row = try cursor.next() {
            if let value = try decode(row) { values.append(value) }
        }
        return values
    }

    private func number(_ sql: String, _ arguments: StatementArguments = []) throws -> Int64 {
        try Int64.fetchOne(try database.cachedStatement(sql: sql), arguments: arguments) ?? 0
    }

    /// The next value of a counter in `clipbridge_meta`.
    private func next(_ counter: String) throws -> Int64 {
        try number("UPDATE clipbridge_meta SET value = value + 1 WHERE key = ? RETURNING value", [counter])
    }

    // MARK: Clips

    private var clipColumns: String {
        """
        c.\(schema.uidColumn.sql) AS uid, c.status AS status_word, c.processing_details AS details, b.uid AS met,
        b.failed_from, b.progress, b.created_at, b.updated_at, b.change_seq, \(Self.workColumns)
        """
    }

    private static let workColumns = """
        w.action, w.due_at, w.attempt, w.polls, w.crashes, w.first_failed_at, w.stage_entered_at, w.mp4_requests,
        w.percent, w.percent_at, w.lease_owner, w.lease_until, w.epoch, w.trace
        """

    private var clipsFromOwn: String {
        """
        SELECT \(clipColumns) FROM clipbridge_clips b
        JOIN \(schema.table.sql) c ON c.\(schema.uidColumn.sql) = b.uid
        LEFT JOIN clipbridge_work w ON w.uid = b.uid
        """
    }

    private var clipsFromTable: String {
        """
        SELECT \(clipColumns) FROM \(schema.table.sql) c
        LEFT JOIN clipbridge_clips b ON b.uid = c.\(schema.uidColumn.sql)
        LEFT JOIN clipbridge_work w ON w.uid = b.uid
        """
    }

    public func clip(_ uid: ClipUID) throws -> ClipRecord? {
        try all("\(clipsFromTable) WHERE c.\(schema.uidColumn.sql) = ?", [uid.rawValue], Self.clip).first
    }

    public func isMet(_ uid: ClipUID) throws -> Bool {
        try Bool.fetchOne(
            try database.cachedStatement(sql: "SELECT 1 FROM clipbridge_clips WHERE uid = ?"),
            arguments: [uid.rawValue]) ?? false
    }

    public func clips(status: ClipStatus?, before: Int64?, limit: Int) throws -> [ClipRecord] {
        let found =
            if let status {
                try rows(
                    "\(clipsFromOwn) WHERE b.status = ? AND b.change_seq < ? ORDER BY b.change_seq DESC LIMIT ?",
                    [status.rawValue, before ?? .max, limit])
            } else {
                try rows(
                    "\(clipsFromOwn) WHERE b.change_seq < ? ORDER BY b.change_seq DESC LIMIT ?",
                    [before ?? .max, limit])
            }
        return try found.map(Self.clip)
    }

    public func clips(changedAfter seq: Int64, limit: Int) throws -> [ClipRecord] {
        try rows("\(clipsFromOwn) WHERE b.change_seq > ? ORDER BY b.change_seq LIMIT ?", [seq, limit]).map(Self.clip)
    }

    public func clipCounts() throws -> [ClipStatus: Int] {
        try rows("SELECT status, count(*) AS n FROM clipbridge_clips GROUP BY status").reduce(into: [:]) {
            if let status = ClipStatus(rawValue: $1["status"]) { $0[status] = $1["n"] }
        }
    }

    /// CROSS JOIN keeps the order: from the few clips with work to their statuses, never from all clips to their work.
    public func longestInStage() throws -> [ClipStatus: Timestamp] {
        try rows(
            """
            SELECT c.status AS status, min(w.stage_entered_at) AS entered
            FROM clipbridge_work AS w CROSS JOIN clipbridge_clips AS c ON c.uid = w.uid GROUP BY c.status
            """
        ).reduce(into: [:]) {
            if let status = ClipStatus(rawValue: $1["status"]) { $0[status] = Timestamp(milliseconds: $1["entered"]) }
        }
    }

    public func lastChangeSeq() throws -> Int64 {
        try number("SELECT value FROM clipbridge_meta WHERE key = 'change_seq'")
    }

    public func statusTimes(of uids: [ClipUID]) throws -> [ClipUID: Timestamp] {
        try uids.reduce(into: [:]) { times, uid in
            let at = try Int64.fetchOne(
                try database.cachedStatement(
                    sql: "SELECT at FROM clipbridge_signals WHERE uid = ? AND outcome = 'applied' "
                        + "ORDER BY seq DESC LIMIT 1"),
                arguments: [uid.rawValue])
            times[uid] = at.map(Timestamp.init(milliseconds:))
        }
    }

    public func activity(at now: Timestamp) throws -> StoreActivity {
        let received =
            try row(
                """
                SELECT count(*) AS five, coalesce(sum(received_at >= ?), 0) AS one
                FROM clipbridge_deliveries WHERE received_at >= ?
                """, [now.milliseconds - 60_000, now.milliseconds - 300_000])
        let last = try row("SELECT max(received_at) AS at FROM clipbridge_deliveries")
        return StoreActivity(
            deliveriesLastMinute: received?["one"] ?? 0, deliveriesLastFiveMinutes: received?["five"] ?? 0,
            lastDeliveryAt: (last?["at"] as Int64?).map(Timestamp.init(milliseconds:)),
            runningTransfers: Int(
                try number(
                    "SELECT count(*) FROM clipbridge_work WHERE lease_owner IS NOT NULL AND action = ?",
                    [Action.transfer.rawValue])),
            longestWork: try row("SELECT * FROM clipbridge_work ORDER BY stage_entered_at, uid LIMIT 1")
                .flatMap(Self.work))
    }

    public func insertClip(
        _ uid: ClipUID, machine: ClipStateMachine, patch: Details, at now: Timestamp
    ) throws -> String? {
        guard case .at(let status) = machine.position else { return "a clip needs a status" }
        let json = DetailsText.encode(patch)
        let refusal = try guarded {
            try execute(
                "UPDATE \(schema.table.sql) SET status = ?, processing_details = \(Self.patched) "
                    + "WHERE \(schema.uidColumn.sql) = ?", [status.rawValue, json, uid.rawValue])
            guard try database.changesCount == 0 && !hasRow(uid.rawValue) else { return }
            try execute(
                "INSERT INTO \(schema.table.sql) (\(schema.uidColumn.sql), status, processing_details) "
                    + "VALUES (?, ?, json_patch('{}', ?))", [uid.rawValue, status.rawValue, json])
        }
        if let refusal { return refusal }
        // A trigger or a constraint of the application may say nothing.
        guard database.changesCount > 0 else { return "the table leaves the row out" }
        try execute(
            """
            INSERT INTO clipbridge_clips (uid, status, failed_from, progress, created_at, updated_at, change_seq)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (uid) DO UPDATE SET status = excluded.status, failed_from = excluded.failed_from,
                progress = excluded.progress, created_at = excluded.created_at, updated_at = excluded.updated_at,
                change_seq = excluded.change_seq
            """,
            [
                uid.rawValue, status.rawValue, machine.failedFrom?.rawValue, machine.progress, now.milliseconds,
                now.milliseconds, try next("change_seq"),
            ])
        try forgetArrival(of: uid)
        return nil
    }

    private func forgetArrival(of uid: ClipUID) throws {
        try execute("DELETE FROM clipbridge_arrivals WHERE uid = ?", [uid.rawValue])
    }

    public func updateClip(
        _ uid: ClipUID, from: ClipStatus, machine: ClipStateMachine, patch: Details, at now: Timestamp
    ) throws -> ClipUpdateResult {
        guard case .at(let status) = machine.position else { return .outdated }
        let refusal = try guarded {
            try execute(
                "UPDATE \(schema.table.sql) SET status = ?, processing_details = \(Self.patched) "
                    + "WHERE \(schema.uidColumn.sql) = ? AND status = ?",
                [status.rawValue, DetailsText.encode(patch), uid.rawValue, from.rawValue])
        }
        if let refusal { return .refused(refusal) }
        guard database.changesCount == 1 else { return .outdated }
        try execute(
            """
            UPDATE clipbridge_clips SET status = ?, failed_from = ?, progress = ?, updated_at = ?, change_seq = ?
            WHERE uid = ?
            """,
            [
                status.rawValue, machine.failedFrom?.rawValue, machine.progress, now.milliseconds,
                try next("change_seq"), uid.rawValue,
            ])
        return .updated
    }

    /// Runs statements that the application's table may refuse.
    /// - Returns: the table's refusal, in words.
    private func guarded(_ body: () throws -> Void) throws -> String? {
        do {
            if usesSavepoints {
                try database.inSavepoint {
                    try body()
                    return .commit
                }
            } else {
                try body()
            }
            return nil
        } catch let error as DatabaseError where isRefusedRow(error) {
            guard usesSavepoints else { throw NeedsSavepoints() }
            // `ROLLBACK` leaves no transaction in which to go on.
            guard database.isInsideTransaction else { throw error }
            return error.message ?? "the table refuses the row"
        }
    }

    /// A constraint, or whatever a trigger or an index makes of the row, such as `malformed JSON`. SQLite gives the
    /// same code to what is not there at the moment, but a statement that speaks of it can mostly not be prepared anew
    /// either; a virtual table finds out later.
    private func isRefusedRow(_ error: DatabaseError) -> Bool {
        switch error.resultCode {
        case .SQLITE_CONSTRAINT, .SQLITE_MISMATCH, .SQLITE_TOOBIG: return true
        case .SQLITE_ERROR:
            guard let sql = error.sql, let message = error.message, !message.hasPrefix("no such "),
                message != "SQL logic error"
            else { return false }
            return (try? database.makeStatement(sql: sql)) != nil
        default: return false
        }
    }

    /// The row's details with a merge patch (RFC 7396) applied by SQLite itself; what is no object is replaced.
    private static let patched = """
        json_patch(CASE WHEN json_valid(processing_details) AND json_type(processing_details) = 'object'
            THEN processing_details ELSE '{}' END, ?)
        """

    // MARK: Rows of an adopted table

    public func unmetClips(after: ClipUID?, limit: Int) throws -> [ClipRecord] {
        try rows(
            """
            SELECT \(clipColumns) FROM clipbridge_arrivals a
            CROSS JOIN \(schema.table.sql) c ON c.\(schema.uidColumn.sql) = a.uid
            LEFT JOIN clipbridge_clips b ON b.uid = a.uid
            LEFT JOIN clipbridge_work w ON w.uid = b.uid
            WHERE b.uid IS NULL AND NOT (\(schema.isForeign("c."))) AND \(schema.hasReadableUID("c.")) AND a.uid > ?
            ORDER BY a.uid LIMIT ?
            """, [after?.rawValue ?? "", limit]
        ).map(Self.clip)
    }

    public func requestingRows(limit: Int) throws -> [RequestingRow] {
        try rows(
            """
            SELECT \(schema.uidColumn.sql) AS uid,
                CASE WHEN json_type(processing_details, '$.requested_status') = 'text'
                    THEN json_extract(processing_details, '$.requested_status') END AS word
            FROM \(schema.table.sql) WHERE \(schema.asksForStatus) AND \(schema.hasReadableUID("")) LIMIT ?
            """, [limit]
        ).map { RequestingRow(uid: $0["uid"], requestedStatus: $0["word"]) }
    }

    public func clearRequest(uid: String) throws -> Bool {
        let refusal = try guarded {
            try execute(
                """
                UPDATE \(schema.table.sql)
                SET processing_details = json_remove(processing_details, '$.requested_status', '$.status_request_time')
                WHERE \(schema.uidColumn.sql) = ?
                """, [uid])
        }
        // A trigger of the application may say nothing, or put it back.
        return try refusal == nil && database.changesCount > 0 && !hasRow(uid, where: schema.asksForStatus)
    }

    private func hasRow(_ uid: String, where condition: String = "true") throws -> Bool {
        try row("SELECT 1 FROM \(schema.table.sql) WHERE \(schema.uidColumn.sql) = ? AND \(condition)", [uid]) != nil
    }

    public func foreignRowCount() throws -> Int {
        Int(try number("SELECT count(*) FROM \(schema.table.sql) WHERE \(schema.isForeign(""))"))
    }

    /// Of a column of the application's, which may hold anything, also bytes that are no text.
    private static func text(_ value: DatabaseValue) -> String? {
        if case .string(let text) = value.storage { text } else { nil }
    }

    private static func clip(_ row: Row) throws -> ClipRecord {
        guard let uid = text(row[0]).flatMap({ ClipUID($0) }) else {
            throw StoreError(.corrupt, "the row \"\(row[0] as DatabaseValue)\" has no valid uid")
        }
        return ClipRecord(
            uid: uid, statusWord: text(row[1]), detailsText: text(row[2]),
            failedFrom: (row[4] as String?).flatMap(ClipStatus.init(rawValue:)), progress: row[5] ?? 0,
            createdAt: Timestamp(milliseconds: row[6] ?? 0), updatedAt: Timestamp(milliseconds: row[7] ?? 0),
            changeSeq: row[8] ?? 0, work: try work(row, from: 9, uid: uid), isMet: row[3] as String? != nil)
    }

    // MARK: Deliveries

    public func insertDelivery(_ delivery: NewDelivery) throws -> (id: Int64, isDuplicate: Bool) {
        let hash = BodyHash(delivery.bodySHA256)
        if let first = try self.delivery(of: hash, sha256: delivery.bodySHA256) { return (first, true) }
        try execute(
            """
            INSERT INTO clipbridge_deliveries
                (received_at, signed_at, signature, body, body_sha256, uid, outcome, signal)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                delivery.receivedAt.milliseconds, delivery.signedAt.milliseconds, delivery.signatureHeader,
                Data(delivery.body), Data(delivery.bodySHA256), delivery.uid?.rawValue, delivery.outcome.rawValue,
                delivery.signal.map(SignalText.encode),
            ])
        let id = database.lastInsertedRowID
        news.change.bodies.added[hash] = id
        if let signal = delivery.signal { news.change.waiting.added.append(.init(id: id, uid: signal.uid)) }
        return (id, false)
    }

    /// Stores a batch. The index is asked for all its bodies first, several with one statement: most of what such a
    /// short one costs is the call.
    func record(_ batch: [NewDelivery]) throws -> [DeliveryReceipt] {
        news.indexed = try indexedBodies(batch.map { BodyHash($0.bodySHA256) })
        defer { news.indexed = nil }
        return try batch.map { try LedgerScript.record($0, in: self) }
    }

    /// The delivery that has brought this body, if it is still there: it may have been removed for its age.
    private func delivery(of hash: BodyHash, sha256: [UInt8]) throws -> Int64? {
        func present(_ id: Int64?) throws -> Int64? {
            guard let id else { return nil }
            return try Int64.fetchOne(
                try database.cachedStatement(
                    sql: "SELECT id FROM clipbridge_deliveries WHERE id = ? AND body_sha256 = ?"),
                arguments: [id, Data(sha256)])
        }
        try updateRecentBodies()
        if let id = try present(news.change.bodies.added[hash] ?? bodies.delivery(of: hash)) { return id }
        return try present((news.indexed ?? indexedBodies([hash]))[hash])
    }

    /// Those of the bodies that are in their index, with the deliveries that brought them.
    private func indexedBodies(_ hashes: [BodyHash]) throws -> [BodyHash: Int64] {
        try Self.parts(of: hashes).reduce(into: [:]) { found, part in
            // The last one stands for those that lack.
            let lacking = repeatElement(part[part.endIndex - 1], count: Self.bodiesAtOnce - part.count)
            let arguments = StatementArguments((part + lacking).map { Data($0.bytes) })
            for (hash, id) in try all(Self.selectBodies, arguments, { (BodyHash($0[0] as Data), $0[1] as Int64) }) {
                found[hash] = id
            }
        }
    }

    private static let selectBodies = """
        SELECT sha256, delivery FROM clipbridge_bodies
        WHERE sha256 IN (\(repeatElement("?", count: bodiesAtOnce).joined(separator: ", ")))
        """

    private func updateRecentBodies() throws {
        guard news.change.bodies.start == nil else { return }
        let place = RecentBodies.Place(
            last: try given("clipbridge_deliveries"), indexed: try counter(Self.bodiesIndexed))
        try bodies.update(to: place) {
            try all("SELECT bodies FROM clipbridge_bodies_recent WHERE last > ? ORDER BY rowid", [place.indexed]) {
                RecentBodies.decode([UInt8]($0[0] as Data))
            }.flatMap { $0 }
        }
        news.change.bodies.start = place
    }

    /// Keeps the bodies that have come, and brings some of those that wait for it into their index.
    private func indexBodies() throws {
        let added = news.change.bodies.added
        guard let last = added.values.max() else { return }
        try execute(
            "INSERT INTO clipbridge_bodies_recent VALUES (?, ?)", [last, Data(RecentBodies.encode(added))])
        let (next, indexed) = bodies.next(after: added.count)
        guard !next.isEmpty else { return }
        let oldest = try number("SELECT min(id) FROM clipbridge_deliveries")
        try index(next.filter { $0.delivery >= oldest })
        if let indexed {
            try raiseCounter(Self.bodiesIndexed, to: indexed)
            try execute("DELETE FROM clipbridge_bodies_recent WHERE last <= ?", [indexed])
        }
        news.change.bodies.indexed = next.count
    }

    private func index(_ bodies: [RecentBodies.Body]) throws {
        for part in Self.parts(of: bodies) {
            let values = repeatElement("(?, ?)", count: part.count).joined(separator: ", ")
            try execute(
                "INSERT OR REPLACE INTO clipbridge_bodies VALUES \(values)",
                StatementArguments(
                    part.flatMap { [Data($0.hash.bytes), $0.delivery] as [any DatabaseValueConvertible] }))
        }
    }

    /// So many go with one statement.
    private static let bodiesAtOnce = 32

    private static func parts<Value>(of values: [Value]) -> [ArraySlice<Value>] {
        stride(from: 0, to: values.count, by: bodiesAtOnce).map { values[$0...].prefix(bodiesAtOnce) }
    }

    /// Up to which delivery all bodies are in their index.
    private static let bodiesIndexed = "bodies_indexed"

    public func delivery(_ id: Int64) throws -> DeliveryRecord? {
        try row("SELECT * FROM clipbridge_deliveries WHERE id = ?", [id]).map(Self.delivery)
    }

    public func deliveries(uid: ClipUID?, before: Int64?, limit: Int) throws -> [DeliveryRecord] {
        let found =
            if let uid {
                try rows(
                    """
                    SELECT * FROM clipbridge_deliveries WHERE id IN (
                        SELECT delivery FROM clipbridge_ledger WHERE uid = ?1 AND delivery < ?2
                        UNION ALL
                        SELECT id FROM clipbridge_deliveries WHERE uid = ?1 AND outcome <> 'accepted' AND id < ?2
                        UNION ALL
                        SELECT id FROM clipbridge_deliveries
                        WHERE id > \(Self.signalsTaken) AND uid = ?1 AND signal IS NOT NULL AND id < ?2)
                    ORDER BY id DESC LIMIT ?3
                    """, [uid.rawValue, before ?? .max, limit])
            } else {
                try rows(
                    "SELECT * FROM clipbridge_deliveries WHERE id < ? ORDER BY id DESC LIMIT ?",
                    [before ?? .max, limit])
            }
        return try found.map(Self.delivery)
    }

    public func deleteDeliveries(receivedBefore limitTime: Timestamp, limit: Int) throws -> Int {
        try execute(
            """
            DELETE FROM clipbridge_deliveries WHERE id IN
                (SELECT id FROM clipbridge_deliveries WHERE received_at < ? AND id <= \(Self.signalsTaken)
                ORDER BY received_at LIMIT ?)
            """, [limitTime.milliseconds, limit])
        return database.changesCount
    }

    private static func delivery(_ row: Row) throws -> DeliveryRecord {
        guard let outcome = DeliveryOutcome(rawValue: row["outcome"]) else {
            throw StoreError(.corrupt, "delivery \(row["id"] as Int64) has an unknown outcome")
        }
        return DeliveryRecord(
            id: row["id"], receivedAt: Timestamp(milliseconds: row["received_at"]),
            signedAt: Timestamp(milliseconds: row["signed_at"]), signatureHeader: row["signature"],
            body: [UInt8](row["body"] as Data), uid: (row["uid"] as String?).flatMap { ClipUID($0) }, outcome: outcome)
    }

    // MARK: Ledger

    public var keepsSignalsWaiting: Bool { true }

    /// The last delivery whose signal is in the ledger, or that has none.
    private static let signalsTaken = "(SELECT value FROM clipbridge_meta WHERE key = 'signals_taken')"

    public func takeWaiting(limit: Int) throws -> [WaitingSignal] {
        let taken = try waitingSignals("id > \(Self.signalsTaken) AND signal IS NOT NULL ORDER BY id LIMIT ?", [limit])
        // Behind the last one there may be deliveries without a signal, which need not be looked at again.
        let end: Int64? =
            taken.count == limit ? taken.last?.delivery : try number("SELECT max(id) FROM clipbridge_deliveries")
        if let end { try noteSignalsTaken(upTo: end) }
        news.change.waiting.taken += taken.map { .init(id: $0.delivery, uid: $0.signal.uid) }
        return taken
    }

    private func noteSignalsTaken(upTo delivery: Int64) throws {
        try raiseCounter("signals_taken", to: delivery)
    }

    public func takeWaiting(of uid: ClipUID) throws -> [WaitingSignal] {
        let ids = try waiting.ids(of: uid) {
            try rows(
                "SELECT id, uid FROM clipbridge_deliveries WHERE id > \(Self.signalsTaken) AND signal IS NOT NULL")
        }
        // Out of their turn. Whether one still waits, the database knows.
        let taken = try ids.flatMap { id in
            let found = try waitingSignals(
                "id = ? AND uid = ? AND id > \(Self.signalsTaken) AND signal IS NOT NULL", [id, uid.rawValue])
            try execute("UPDATE clipbridge_deliveries SET signal = NULL WHERE id = ?", [id])
            return found
        }
        news.change.waiting.taken += taken.map { .init(id: $0.delivery, uid: $0.signal.uid) }
        return taken
    }

    private func waitingSignals(_ condition: String, _ arguments: StatementArguments) throws -> [WaitingSignal] {
        try all("SELECT id, received_at, uid, signal FROM clipbridge_deliveries WHERE \(condition)", arguments) { row in
            let id: Int64 = row[0]
            guard let uid = ClipUID(row[2] as String), let signal = SignalText.decode(row[3], uid: uid) else {
                throw StoreError(.corrupt, "delivery \(id) has a signal that can not be read")
            }
            return WaitingSignal(delivery: id, at: Timestamp(milliseconds: row[1]), signal: signal)
        }
    }

    public func oldestUndecided() throws -> Timestamp? {
        let times = try [
            "SELECT at FROM clipbridge_pending ORDER BY seq LIMIT 1",
            """
            SELECT received_at FROM clipbridge_deliveries
            WHERE id > \(Self.signalsTaken) AND signal IS NOT NULL ORDER BY id LIMIT 1
            """,
        ].compactMap { try Int64.fetchOne(try database.cachedStatement(sql: $0)) }
        return times.min().map(Timestamp.init(milliseconds:))
    }

    public func insertSignal(_ signal: Signal, delivery: Int64?, at now: Timestamp) throws -> Int64 {
        let last = try news.last ?? given("clipbridge_signals")
        news.last = last + 1
        news.undecided[last + 1] = (signal, delivery, now)
        return last + 1
    }

    /// Runs a transaction that writes; all that it writes is with the database when this returns, for it to commit.
    /// - Returns: also what has to be known once it is committed.
    func run<Value>(_ body: (SQLiteTransaction) throws -> Value) throws -> (Value, Change) {
        waiting.begin()
        do {
            let value = try body(self)
            try keepUndecided()
            try indexBodies()
            return (value, news.change)
        } catch {
            waiting.rolledBack()
            throw error
        }
    }

    /// Writes what was not decided by the transaction that inserted it.
    private func keepUndecided() throws {
        guard !news.undecided.isEmpty else { return }
        for (seq, new) in news.undecided.sorted(by: { $0.key < $1.key }) {
            try insertPending(new.signal, seq: seq, delivery: new.delivery, at: new.at)
        }
        news.undecided = [:]
        try raise("clipbridge_signals", to: news.last ?? 0)
    }

    private func insertPending(_ signal: Signal, seq: Int64, delivery: Int64?, at time: Timestamp) throws {
        let (kind, word) = signal.request.columns
        try execute(
            "INSERT OR REPLACE INTO clipbridge_pending VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                seq, signal.uid.rawValue, time.milliseconds, signal.source.rawValue, kind, word, signal.percent,
                DetailsText.encode(signal.details), delivery, signal.trace?.rawValue,
            ])
    }

    public func entry(_ seq: Int64) throws -> LedgerEntry? {
        try keepUndecided()
        return try all("\(LedgerRow.select) WHERE seq = ?", [seq], LedgerRow.entry).first
    }

    public func pendingEntries(limit: Int) throws -> [LedgerEntry] {
        try keepUndecided()
        return try all("\(LedgerRow.selectPending) ORDER BY seq LIMIT ?", [limit], LedgerRow.entry)
    }

    public func pendingEntries(of uid: ClipUID) throws -> [LedgerEntry] {
        try keepUndecided()
        return try all("\(LedgerRow.selectPending) WHERE uid = ? ORDER BY seq", [uid.rawValue], LedgerRow.entry)
    }

    public func settleEntry(_ entry: LedgerEntry, epoch: Int64?, at now: Timestamp) throws {
        if news.undecided.removeValue(forKey: entry.seq) == nil {
            try execute("DELETE FROM clipbridge_pending WHERE seq = ?", [entry.seq])
            guard database.changesCount == 1 else { return }
        }
        try insertDecided(entry, epoch: epoch, at: now)
    }

    private func insertDecided(_ entry: LedgerEntry, epoch: Int64?, at time: Timestamp?) throws {
        try execute(
            """
            INSERT OR REPLACE INTO clipbridge_signals (
                seq, uid, at, source, kind, requested_status, percent, details, delivery, outcome, reason,
                from_status, to_status, epoch, decided_at, trace
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                entry.seq, entry.signal.uid.rawValue, entry.at.milliseconds, entry.signal.source.rawValue,
                entry.signal.request.columns.kind, entry.requestedStatus, entry.signal.percent,
                DetailsText.encode(entry.signal.details), entry.delivery.flatMap { Int64($0) },
                entry.outcome?.rawValue, entry.reason?.rawValue, entry.from?.rawValue, entry.to?.rawValue, epoch,
                time?.milliseconds, entry.signal.trace?.rawValue,
            ])
    }

    public func history(of uid: ClipUID) throws -> [LedgerEntry] {
        try keepUndecided()
        return try all("\(LedgerRow.select) WHERE uid = ? ORDER BY seq", [uid.rawValue], LedgerRow.entry)
    }

    public func uids(after: String?, limit: Int) throws -> [String] {
        let uid = schema.uidColumn.sql
        return try rows(
            """
            SELECT uid FROM (
                SELECT * FROM (SELECT \(uid) AS uid FROM \(schema.table.sql)
                    WHERE \(uid) > ?1 AND \(schema.hasReadableUID("")) ORDER BY \(uid) LIMIT ?2)
                UNION
                SELECT * FROM (SELECT DISTINCT uid FROM clipbridge_signals WHERE uid > ?1 ORDER BY uid LIMIT ?2)
                UNION
                SELECT * FROM (SELECT DISTINCT uid FROM clipbridge_pending WHERE uid > ?1 ORDER BY uid LIMIT ?2)
            ) ORDER BY uid LIMIT ?2
            """, [after ?? "", limit]
        ).map { $0["uid"] }
    }

    // MARK: Work

    public func work(of uid: ClipUID) throws -> Work? {
        try all("\(Self.selectWork) WHERE w.uid = ?", [uid.rawValue], Self.work).first
    }

    public func putWork(_ work: Work) throws {
        try execute(
            """
            INSERT OR REPLACE INTO clipbridge_work (
                uid, action, due_at, attempt, polls, crashes, first_failed_at, stage_entered_at, mp4_requests,
                percent, percent_at, lease_owner, lease_until, epoch, trace
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                work.uid.rawValue, work.action.rawValue, work.dueAt.milliseconds, work.attempt, work.polls,
                work.crashes, work.firstFailedAt?.milliseconds, work.stageEnteredAt.milliseconds, work.mp4Requests,
                work.percent, work.percentAt?.milliseconds, work.lease?.owner, work.lease?.until.milliseconds,
                work.lease?.epoch, work.trace?.rawValue,
            ])
    }

    public func removeWork(of uid: ClipUID) throws {
        try execute("DELETE FROM clipbridge_work WHERE uid = ?", [uid.rawValue])
    }

    public func dueWork(_ actions: [Action], at now: Timestamp, limit: Int) throws -> [Work] {
        let found = try actions.flatMap { action in
            try all(
                """
                \(Self.selectWork)
                WHERE action = ? AND due_at <= ? AND lease_owner IS NULL ORDER BY due_at LIMIT ?
                """, [action.rawValue, now.milliseconds, limit], Self.work)
        }
        return Array(found.sorted { ($0.dueAt, $0.uid) < ($1.dueAt, $1.uid) }.prefix(limit))
    }

    public func nextDue(_ actions: [Action]) throws -> Timestamp? {
        try actions.compactMap { action in
            try Int64.fetchOne(
                try database.cachedStatement(
                    sql: "SELECT min(due_at) FROM clipbridge_work WHERE action = ? AND lease_owner IS NULL"),
                arguments: [action.rawValue]
            ).map(Timestamp.init(milliseconds:))
        }.min()
    }

    public func expiredWork(at now: Timestamp, until end: Timestamp, limit: Int) throws -> [Work] {
        try all(
            """
            \(Self.selectWork) WHERE lease_owner IN (
                SELECT lease_owner FROM clipbridge_work WHERE lease_owner IS NOT NULL AND lease_until <= ?)
            AND lease_until <= ? LIMIT ?
            """,
            [now.milliseconds, end.milliseconds, limit], Self.work)
    }

    public func renewLeases(owner: String, epochs: Set<Int64>, until: Timestamp) throws {
        for epoch in epochs {
            try execute(
                "UPDATE clipbridge_work SET lease_until = ? WHERE lease_owner = ? AND epoch = ?",
                [until.milliseconds, owner, epoch])
        }
    }

    public func endLeases(exceptOf owner: String, at now: Timestamp) throws {
        try execute(
            "UPDATE clipbridge_work SET lease_until = ? WHERE lease_owner IS NOT NULL AND lease_owner <> ?",
            [now.milliseconds, owner])
    }

    public func nextEpoch() throws -> Int64 { try next("epoch") }

    private static let selectWork = "SELECT w.uid, \(workColumns) FROM clipbridge_work w"

    private static func work(_ row: Row) throws -> Work? {
        try ClipUID(row[0] as String).flatMap { try work(row, from: 1, uid: $0) }
    }

    /// - Parameter first: where `workColumns` begin.
    private static func work(_ row: Row, from first: Int, uid: ClipUID) throws -> Work? {
        guard let word = row[first] as String? else { return nil }
        guard let action = Action(rawValue: word) else {
            throw StoreError(.corrupt, "the work of \(uid) is an unknown action \"\(word)\"")
        }
        var work = Work(
            uid: uid, action: action, dueAt: Timestamp(milliseconds: row[first + 1]),
            stageEnteredAt: Timestamp(milliseconds: row[first + 6]), mp4Requests: row[first + 7])
        work.attempt = row[first + 2]
        work.polls = row[first + 3]
        work.crashes = row[first + 4]
        work.firstFailedAt = (row[first + 5] as Int64?).map(Timestamp.init(milliseconds:))
        work.percent = row[first + 8]
        work.percentAt = (row[first + 9] as Int64?).map(Timestamp.init(milliseconds:))
        if let owner = row[first + 10] as String? {
            work.lease = Lease(
                owner: owner, until: Timestamp(milliseconds: row[first + 11] ?? 0), epoch: row[first + 12] ?? 0)
        }
        work.trace = (row[first + 13] as String?).flatMap(TraceID.init(rawValue:))
        return work
    }

    // MARK: Transfers

    public func transfer(of uid: ClipUID) throws -> TransferRecord? {
        guard let row = try row("SELECT * FROM clipbridge_transfers WHERE uid = ?", [uid.rawValue]) else { return nil }
        return try transfer(row, of: uid)
    }

    public func transfers() throws -> [ClipUID: TransferRecord] {
        try rows("SELECT * FROM clipbridge_transfers").reduce(into: [:]) { found, row in
            if let uid = ClipUID(row["uid"] as String) { found[uid] = try transfer(row, of: uid) }
        }
    }

    public func putTransfer(_ transfer: TransferRecord, of uid: ClipUID) throws {
        try execute(
            "INSERT OR REPLACE INTO clipbridge_transfers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                uid.rawValue, transfer.sourceURL, transfer.sourceETag, transfer.size.map(Int64.init),
                transfer.spoolPath, transfer.spoolHost, transfer.isFetched, transfer.objectKey,
                transfer.partBytes.map(Int64.init), transfer.uploadID, transfer.objectETag,
            ])
        try removeParts(of: uid)
        for part in transfer.parts { try putTransferPart(part, of: uid) }
    }

    public func putTransferPart(_ part: TransferPart, of uid: ClipUID) throws {
        try execute(
            "INSERT OR REPLACE INTO clipbridge_transfer_parts VALUES (?, ?, ?, ?, ?)",
            [uid.rawValue, part.number, Int64(part.size), part.sha256, part.etag])
    }

    public func removeTransfer(of uid: ClipUID) throws {
        try execute("DELETE FROM clipbridge_transfers WHERE uid = ?", [uid.rawValue])
        try removeParts(of: uid)
    }

    private func removeParts(of uid: ClipUID) throws {
        try execute("DELETE FROM clipbridge_transfer_parts WHERE uid = ?", [uid.rawValue])
    }

    private func transfer(_ row: Row, of uid: ClipUID) throws -> TransferRecord {
        let parts = try rows(
            "SELECT * FROM clipbridge_transfer_parts WHERE uid = ? ORDER BY number", [uid.rawValue]
        ).map {
            TransferPart(
                number: $0["number"], size: UInt64($0["size"] as Int64), sha256: $0["sha256"], etag: $0["etag"])
        }
        return TransferRecord(
            sourceURL: row["source_url"], sourceETag: row["source_etag"],
            size: (row["size"] as Int64?).map(UInt64.init), spoolPath: row["spool_path"],
            spoolHost: row["spool_host"], isFetched: row["is_fetched"], objectKey: row["object_key"],
            partBytes: (row["part_bytes"] as Int64?).map(UInt64.init), uploadID: row["upload_id"],
            objectETag: row["object_etag"], parts: parts)
    }

    // MARK: Outbox

    public func insertMessage(_ message: OutboxMessage) throws {
        try execute(
            """
            INSERT INTO clipbridge_outbox (target, kind, uid, source, body, created_at, due_at, attempt)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (target, source) DO NOTHING
            """,
            [
                message.target, message.kind.rawValue, message.uid?.rawValue ?? "", message.source,
                Data(message.body), message.createdAt.milliseconds, message.dueAt.milliseconds, message.attempt,
            ])
    }

    private static let isOldest = """
        NOT EXISTS (SELECT 1 FROM clipbridge_outbox o WHERE o.target = m.target AND o.uid = m.uid AND o.id < m.id)
        """

    public func dueMessages(to target: String, at now: Timestamp, limit: Int) throws -> [OutboxMessage] {
        try rows(
            """
            SELECT * FROM clipbridge_outbox m WHERE target = ? AND due_at <= ? AND \(Self.isOldest)
            ORDER BY due_at, id LIMIT ?
            """, [target, now.milliseconds, limit]
        ).map(Self.message)
    }

    public func nextMessageDue(to target: String) throws -> Timestamp? {
        try row(
            "SELECT due_at FROM clipbridge_outbox m WHERE target = ? AND \(Self.isOldest) ORDER BY due_at LIMIT 1",
            [target]
        ).map { Timestamp(milliseconds: $0["due_at"]) }
    }

    public func putMessage(_ message: OutboxMessage, heldUnder epoch: Int64?) throws -> Bool {
        try execute(
            "UPDATE clipbridge_outbox SET due_at = ?, attempt = ?, lease_owner = ?, epoch = ? "
                + "WHERE id = ? AND epoch IS ?",
            [
                message.dueAt.milliseconds, message.attempt, message.lease?.owner, message.lease?.epoch, message.id,
                epoch,
            ])
        return database.changesCount == 1
    }

    public func removeMessage(_ id: Int64, heldUnder epoch: Int64) throws -> Bool {
        try execute("DELETE FROM clipbridge_outbox WHERE id = ? AND epoch = ?", [id, epoch])
        return database.changesCount == 1
    }

    public func messageCounts() throws -> [String: Int] {
        try rows("SELECT target, count(*) AS n FROM clipbridge_outbox GROUP BY target").reduce(into: [:]) {
            $0[$1["target"]] = $1["n"]
        }
    }

    public func removeMessages(exceptTo targets: [String]) throws -> Int {
        let others = try messageCounts().keys.filter { !targets.contains($0) }
        return try others.reduce(0) { removed, target in
            try execute("DELETE FROM clipbridge_outbox WHERE target = ?", [target])
            return removed + database.changesCount
        }
    }

    public func endMessageLeases(exceptOf owner: String, at now: Timestamp) throws {
        try execute(
            "UPDATE clipbridge_outbox SET due_at = ?, lease_owner = NULL, epoch = NULL "
                + "WHERE lease_owner IS NOT NULL AND lease_owner <> ?", [now.milliseconds, owner])
    }

    public func messages(after id: Int64, limit: Int) throws -> [OutboxMessage] {
        try rows("SELECT * FROM clipbridge_outbox WHERE id > ? ORDER BY id LIMIT ?", [id, limit]).map(Self.message)
    }

    private static func message(_ row: Row) throws -> OutboxMessage {
        guard let kind = OutboxMessage.Kind(rawValue: row["kind"]) else {
            throw StoreError(.corrupt, "message \(row["id"] as Int64) of the outbox has an unknown kind")
        }
        let due = Timestamp(milliseconds: row["due_at"])
        return OutboxMessage(
            id: row["id"], target: row["target"], kind: kind, uid: ClipUID(row["uid"] as String),
            source: row["source"], body: [UInt8](row["body"] as Data),
            createdAt: Timestamp(milliseconds: row["created_at"]), dueAt: due, attempt: row["attempt"],
            lease: (row["lease_owner"] as String?).map { Lease(owner: $0, until: due, epoch: row["epoch"] ?? 0) })
    }

    // MARK: Copies

    public func counters() throws -> StoreCounters {
        StoreCounters(
            delivery: try given("clipbridge_deliveries"), entry: try given("clipbridge_signals"),
            change: try counter("change_seq"), epoch: try counter("epoch"))
    }

    private func counter(_ key: String) throws -> Int64 {
        try number("SELECT value FROM clipbridge_meta WHERE key = ?", [key])
    }

    /// The table's last number that was given, not that is there: the row may have been removed.
    private func given(_ table: String) throws -> Int64 {
        try number("SELECT seq FROM sqlite_sequence WHERE name = ?", [table])
    }

    public func raiseCounters(to counters: StoreCounters) throws {
        try raiseCounter("change_seq", to: counters.change)
        try raiseCounter("epoch", to: counters.epoch)
        try noteSignalsTaken(upTo: counters.delivery)
        try raise("clipbridge_deliveries", to: counters.delivery)
        try raise("clipbridge_signals", to: counters.entry)
    }

    private func raiseCounter(_ key: String, to value: Int64) throws {
        try execute("UPDATE clipbridge_meta SET value = max(value, ?) WHERE key = ?", [value, key])
    }

    /// The next number of the table is above this.
    private func raise(_ table: String, to number: Int64) throws {
        try execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, 0 "
                + "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)", [table])
        try execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", [number, table])
    }

    public func storedDeliveries(after id: Int64, limit: Int) throws -> [StoredDelivery] {
        try rows("SELECT * FROM clipbridge_deliveries WHERE id > ? ORDER BY id LIMIT ?", [id, limit]).map {
            StoredDelivery(record: try Self.delivery($0), bodySHA256: [UInt8]($0["body_sha256"] as Data))
        }
    }

    public func storedEntries(after seq: Int64, limit: Int) throws -> [StoredEntry] {
        try all("\(LedgerRow.select) WHERE seq > ? ORDER BY seq LIMIT ?", [seq, limit]) {
            StoredEntry(
                entry: try LedgerRow.entry($0), epoch: $0["epoch"],
                decidedAt: ($0["decided_at"] as Int64?).map(Timestamp.init(milliseconds:)))
        }
    }

    public func restore(_ delivery: StoredDelivery) throws {
        let record = delivery.record
        let hash = BodyHash(delivery.bodySHA256)
        // One with the same body has been removed from the source, and the body has come anew.
        try execute(
            """
            DELETE FROM clipbridge_deliveries
            WHERE id = ? OR id = (SELECT delivery FROM clipbridge_bodies WHERE sha256 = ?)
            """, [record.id, Data(hash.bytes)])
        try execute(
            """
            INSERT INTO clipbridge_deliveries
                (id, received_at, signed_at, signature, body, body_sha256, uid, outcome)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                record.id, record.receivedAt.milliseconds, record.signedAt.milliseconds, record.signatureHeader,
                Data(record.body), Data(delivery.bodySHA256), record.uid?.rawValue, record.outcome.rawValue,
            ])
        try index([(hash, record.id)])
    }

    public func restore(_ stored: StoredEntry) throws {
        let entry = stored.entry
        guard entry.outcome != nil else {
            try insertPending(
                entry.signal, seq: entry.seq, delivery: entry.delivery.flatMap { Int64($0) }, at: entry.at)
            return try raise("clipbridge_signals", to: entry.seq)
        }
        try execute("DELETE FROM clipbridge_pending WHERE seq = ?", [entry.seq])
        try insertDecided(entry, epoch: stored.epoch, at: stored.decidedAt)
    }

    public func restore(_ clip: ClipRecord) throws {
        let json = DetailsText.encode(clip.details)
        try execute(
            "UPDATE \(schema.table.sql) SET status = ?, processing_details = ? WHERE \(schema.uidColumn.sql) = ?",
            [clip.statusWord, json, clip.uid.rawValue])
        if database.changesCount == 0 {
            try execute(
                "INSERT INTO \(schema.table.sql) (\(schema.uidColumn.sql), status, processing_details) "
                    + "VALUES (?, ?, ?)", [clip.uid.rawValue, clip.statusWord, json])
        }
        try execute(
            """
            INSERT OR REPLACE INTO clipbridge_clips
                (uid, status, failed_from, progress, created_at, updated_at, change_seq)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [
                clip.uid.rawValue, clip.statusWord ?? "", clip.failedFrom?.rawValue, clip.progress,
                clip.createdAt.milliseconds, clip.updatedAt.milliseconds, clip.changeSeq,
            ])
        try forgetArrival(of: clip.uid)
        if let work = clip.work { try putWork(work) } else { try removeWork(of: clip.uid) }
    }
}

/// What a transaction has done so far that is not for the database alone, or not yet.
private final class News {
    /// The ledger's last number; nil until it is asked for.
    var last: Int64?
    /// Entries that are not decided: most are within the transaction, and are written once then.
    var undecided: [Int64: (signal: Signal, delivery: Int64?, at: Timestamp)] = [:]
    /// What the index of bodies said of those of a batch; nil without one.
    var indexed: [BodyHash: Int64]?
    var change = SQLiteTransaction.Change()
}
