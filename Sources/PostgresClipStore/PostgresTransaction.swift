// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle
public import ClipStore

/// The store's rows within one PostgreSQL transaction (READ COMMITTED: each statement sees what was committed before
/// it). A clip that is written is held by an advisory lock on its uid, which also keeps what is not there yet.
public final class PostgresTransaction: StoreTransaction {
    /// A statement on the application's table was refused and has spoilt the transaction; run again with savepoints,
    /// the refusal can be told from it.
    struct NeedsSavepoints: Error {}

    let connection: PostgresConnection
    let schema: PostgresSchema
    let abilities: PostgresSchema.Abilities
    public let now: Timestamp?
    private let isReadOnly: Bool
    private let usesSavepoints: Bool
    private var locked: Set<ClipUID> = []
    private var changed: [ClipUID] = []
    /// Rows of clips that are held, as they were last read, until they are written: a decision looks several times.
    private var known: [ClipUID: ClipRecord?] = [:]
    /// What other replicas have to be told of.
    private(set) var stored = false

    init(
        _ connection: PostgresConnection, schema: PostgresSchema, abilities: PostgresSchema.Abilities, now: Timestamp?,
        isReadOnly: Bool, usesSavepoints: Bool
    ) {
        self.connection = connection
        self.schema = schema
        self.abilities = abilities
        self.now = now
        self.isReadOnly = isReadOnly
        self.usesSavepoints = usesSavepoints
    }

    /// The last statements before the commit.
    func finish(instance: String) throws {
        if !changed.isEmpty { try execute("SELECT clipbridge_number_changes($1::text[])", [.init(changed)]) }
        guard stored else { return }
        try execute(
            "SELECT pg_notify('\(PostgresSchema.channel)', $1)", [.text("\(abilities.schema) stored \(instance)")])
    }

    @discardableResult
    private func execute(_ sql: String, _ parameters: [PostgresValue] = []) throws -> PostgresResult {
        try connection.execute(sql, parameters)
    }

    private func rows(_ sql: String, _ parameters: [PostgresValue] = []) throws -> [PostgresRow] {
        try execute(sql, parameters).rows
    }

    // MARK: Locks

    /// The numbers of locks are the whole database's, where other bridges may have schemas of their own.
    private static let lockSeed = "'clipbridge_meta'::regclass::oid::bigint"
    private static let lockKey = "hashtextextended(uid, \(lockSeed))"

    public func lock(_ uids: [ClipUID]) throws {
        let wanted = Set(uids).subtracting(locked)
        guard !isReadOnly, !wanted.isEmpty else { return }
        // By the key, so that everybody takes them in one order.
        try execute(
            """
            SELECT pg_advisory_xact_lock(key) FROM (
                SELECT DISTINCT \(Self.lockKey) AS key FROM unnest($1::text[]) AS u (uid) ORDER BY key OFFSET 0
            ) AS keys
            """, [.init(wanted.sorted())])
        locked.formUnion(wanted)
    }

    /// Of the candidates, those that nobody else holds, held from now on; all of them where nothing is written.
    ///
    /// What was read of them before counts no more: somebody may have written it while it was held.
    /// - Parameter candidates: a query with a column `uid`, bounded.
    private func take(_ candidates: String, _ parameters: [PostgresValue], limit: Int) throws -> [ClipUID] {
        let number = parameters.count + 1
        // OFFSET 0 keeps the server from trying locks of rows that are not candidates.
        let condition = isReadOnly ? "" : "WHERE pg_try_advisory_xact_lock(\(Self.lockKey))"
        let found = try rows(
            "SELECT uid FROM (SELECT uid FROM (\(candidates)) AS c OFFSET 0) AS candidates \(condition) "
                + "LIMIT $\(number)::bigint", parameters + [.init(limit)]
        ).compactMap { $0.uid("uid") }
        if !isReadOnly { locked.formUnion(found) }
        return found
    }

    private func unheldOf(_ candidates: String, _ parameters: [PostgresValue], limit: Int) throws -> [ClipUID] {
        try unheld(try take(candidates, parameters, limit: limit))
    }

    /// Without those whose row another program holds at the moment: they would keep the others waiting.
    private func unheld(_ uids: [ClipUID]) throws -> [ClipUID] {
        guard !isReadOnly, !uids.isEmpty else { return uids }
        let rows = "SELECT \(uidColumn) AS uid FROM \(schema.table.sql) c WHERE \(uidColumn) = ANY ($1::text[])"
        let present = try self.rows(rows, [.init(uids)]).compactMap { $0.uid("uid") }
        let free = try self.rows("\(rows) FOR NO KEY UPDATE SKIP LOCKED", [.init(uids)]).compactMap { $0.uid("uid") }
        let held = Set(present).subtracting(free)
        return uids.filter { !held.contains($0) }
    }

    /// More than are wanted, because others may hold the first of them.
    private func generous(_ limit: Int) -> Int { isReadOnly ? limit : 2 * limit + 64 }

    // MARK: Clips

    private var uidColumn: String { "c.\(schema.uidColumn.sql)" }
    /// Our own uid as the table's column compares it.
    private var ownUID: String { "b.uid\(abilities.collation)" }

    private static let ownColumns = """
        b.uid AS met, b.failed_from, b.progress, b.created_at, b.updated_at, b.change_seq,
        w.action, w.due_at, w.attempt, w.polls, w.crashes, w.first_failed_at, w.stage_entered_at, w.mp4_requests,
        w.percent, w.percent_at, w.lease_owner, w.lease_until, w.epoch, w.trace
        """

    private var tableColumns: String {
        "\(uidColumn) AS uid, c.status::text AS status_word, c.processing_details AS details"
    }

    private var clipsFromOwn: String {
        """
        SELECT \(tableColumns), \(Self.ownColumns) FROM clipbridge_clips b
        JOIN \(schema.table.sql) c ON \(uidColumn) = \(ownUID)
        LEFT JOIN clipbridge_work w ON w.uid = b.uid
        """
    }

    public func clip(_ uid: ClipUID) throws -> ClipRecord? {
        if let clip = known[uid] { return clip }
        let clip = try rows(
            """
            SELECT \(tableColumns), \(Self.ownColumns) FROM \(schema.table.sql) c
            LEFT JOIN clipbridge_clips b ON b.uid = $1::text
            LEFT JOIN clipbridge_work w ON w.uid = $1::text
            WHERE \(uidColumn) = $1::text
            """, [.text(uid.rawValue)]
        ).first.map(Self.clip)
        if locked.contains(uid) { known[uid] = .some(clip) }
        return clip
    }

    public func clips(status: ClipStatus?, before: Int64?, limit: Int) throws -> [ClipRecord] {
        let page = [PostgresValue(before ?? .max), PostgresValue(limit)]
        if let status {
            return try rows(
                "\(clipsFromOwn) WHERE b.status = $3 AND b.change_seq < $1 ORDER BY b.change_seq DESC LIMIT $2",
                page + [.text(status.rawValue)]
            ).map(Self.clip)
        }
        return try rows("\(clipsFromOwn) WHERE b.change_seq < $1 ORDER BY b.change_seq DESC LIMIT $2", page)
            .map(Self.clip)
    }

    public func clips(changedAfter seq: Int64, limit: Int) throws -> [ClipRecord] {
        try rows(
            "\(clipsFromOwn) WHERE b.change_seq > $1 ORDER BY b.change_seq LIMIT $2", [.init(seq), .init(limit)]
        ).map(Self.clip)
    }

    public func clipCounts() throws -> [ClipStatus: Int] {
        try rows("SELECT status, count(*) AS n FROM clipbridge_clips GROUP BY status").reduce(into: [:]) {
            guard let status = $1.text("status").flatMap(ClipStatus.init(rawValue:)) else { return }
            $0[status] = Int($1.integer("n") ?? 0)
        }
    }

    public func longestInStage() throws -> [ClipStatus: Timestamp] {
        try rows(
            """
            SELECT c.status AS status, min(w.stage_entered_at) AS entered
            FROM clipbridge_work AS w JOIN clipbridge_clips AS c ON c.uid = w.uid GROUP BY c.status
            """
        ).reduce(into: [:]) {
            guard let status = $1.text("status").flatMap(ClipStatus.init(rawValue:)) else { return }
            $0[status] = $1.time("entered")
        }
    }

    public func lastChangeSeq() throws -> Int64 {
        try execute("SELECT max(change_seq) AS seq FROM clipbridge_clips").row?.integer("seq") ?? 0
    }

    public func statusTimes(of uids: [ClipUID]) throws -> [ClipUID: Timestamp] {
        let last = """
            SELECT u.uid, s.at FROM unnest($1::text[]) AS u (uid) CROSS JOIN LATERAL (
                SELECT at FROM clipbridge_signals WHERE uid = u.uid AND outcome = 'applied' ORDER BY seq DESC LIMIT 1
            ) AS s
            """
        return try rows(last, [.init(uids)]).reduce(into: [:]) { times, row in
            if let uid = row.uid("uid") { times[uid] = row.time("at") }
        }
    }

    public func activity(at now: Timestamp) throws -> StoreActivity {
        let received = try execute(
            """
            SELECT count(*) AS five, count(*) FILTER (WHERE received_at >= $1) AS one
            FROM clipbridge_deliveries WHERE received_at >= $2
            """, [.init(now + .seconds(-60)), .init(now + .seconds(-300))]
        ).row
        let transfers = try execute(
            "SELECT count(*) AS n FROM clipbridge_work WHERE lease_owner IS NOT NULL AND action = $1",
            [.text(Action.transfer.rawValue)])
        return StoreActivity(
            deliveriesLastMinute: Int(received?.integer("one") ?? 0),
            deliveriesLastFiveMinutes: Int(received?.integer("five") ?? 0),
            lastDeliveryAt: try execute("SELECT max(received_at) AS at FROM clipbridge_deliveries").row?.time("at"),
            runningTransfers: Int(transfers.row?.integer("n") ?? 0),
            longestWork: try rows("SELECT * FROM clipbridge_work ORDER BY stage_entered_at, uid LIMIT 1")
                .first.flatMap(Self.work))
    }

    /// How long a row is waited for that another transaction has inserted under the same uid and not committed.
    private static let insertPatience = Duration.milliseconds(300)

    public func insertClip(
        _ uid: ClipUID, machine: ClipStateMachine, patch: Details, at now: Timestamp
    ) throws -> String? {
        guard case .at(let status) = machine.position else { return "a clip needs a status" }
        known[uid] = nil
        let table = [PostgresValue.text(uid.rawValue), .text(status.rawValue), .text(Self.jsonb(patch))]
        var isWritten = false
        let refusal = try guarded {
            let updated = try self.execute(
                "UPDATE \(self.schema.table.sql) AS c SET status = $2, "
                    + "processing_details = clipbridge_merge_patch(c.processing_details, $3) "
                    + "WHERE \(self.uidColumn) = $1", table)
            isWritten = updated.count > 0
            guard try !isWritten && !self.hasRow(uid.rawValue) else { return }
            try connection.setLockLimit(Self.insertPatience)
            let inserted = try self.execute(
                "INSERT INTO \(self.schema.table.sql) (\(self.schema.uidColumn.sql), status, processing_details) "
                    + "VALUES ($1, $2, clipbridge_merge_patch('{}', $3))", table)
            // A trigger may have put it elsewhere.
            isWritten = try inserted.count > 0 || self.hasRow(uid.rawValue)
            try connection.setLockLimit(nil)
        }
        if let refusal { return refusal }
        // A trigger of the application may say nothing.
        guard isWritten else { return "the table leaves the row out" }
        try execute(
            """
            INSERT INTO clipbridge_clips (uid, status, failed_from, progress, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $5)
            ON CONFLICT (uid) DO UPDATE SET status = excluded.status, failed_from = excluded.failed_from,
                progress = excluded.progress, created_at = excluded.created_at, updated_at = excluded.updated_at
            """,
            [
                .text(uid.rawValue), .text(status.rawValue), .init(machine.failedFrom?.rawValue),
                .init(machine.progress), .init(now),
            ])
        changed.append(uid)
        return nil
    }

    public func updateClip(
        _ uid: ClipUID, from: ClipStatus, machine: ClipStateMachine, patch: Details, at now: Timestamp
    ) throws -> ClipUpdateResult {
        guard case .at(let status) = machine.position else { return .outdated }
        known[uid] = nil
        var isWritten = false
        let refusal = try guarded {
            isWritten =
                try self.execute(
                    """
                    WITH moved AS (
                        UPDATE \(self.schema.table.sql) AS c SET status = $2,
                            processing_details = clipbridge_merge_patch(c.processing_details, $3)
                        WHERE \(self.uidColumn) = $1 AND c.status::text = $4 RETURNING 1
                    )
                    UPDATE clipbridge_clips SET status = $5, failed_from = $6, progress = $7, updated_at = $8
                    WHERE uid = $9 AND EXISTS (SELECT FROM moved)
                    """,
                    [
                        .text(uid.rawValue), .text(status.rawValue), .text(Self.jsonb(patch)),
                        .text(from.rawValue), .text(status.rawValue), .init(machine.failedFrom?.rawValue),
                        .init(machine.progress), .init(now), .text(uid.rawValue),
                    ]
                ).count == 1
        }
        if let refusal { return .refused(refusal) }
        guard isWritten else { return .outdated }
        changed.append(uid)
        return .updated
    }

    /// `jsonb` has no zero character.
    private static func jsonb(_ details: Details) -> String {
        DetailsText.encode(details).replacing("\\u0000", with: "\\ufffd")
    }

    /// Runs statements that the application's table may refuse.
    /// - Returns: the table's refusal, in words.
    /// - Throws: `StoreError` with `rowHeld` when another transaction keeps the row for too long.
    private func guarded(_ body: () throws -> Void) throws -> String? {
        guard usesSavepoints else {
            do {
                try body()
                return nil
            } catch let error as PostgresError where error.isRefusedRow || error.isLockTimeout {
                throw NeedsSavepoints()
            }
        }
        try connection.script("SAVEPOINT row")
        do {
            try body()
            // A constraint that would be looked at only at the end says its word now.
            try connection.script("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; RELEASE SAVEPOINT row")
            return nil
        } catch let error as PostgresError where error.isRefusedRow {
            try connection.script("ROLLBACK TO SAVEPOINT row")
            return error.message
        } catch let error as PostgresError where error.isLockTimeout {
            try connection.script("ROLLBACK TO SAVEPOINT row")
            throw StoreError(.rowHeld, "another program's transaction holds the clip's row: \(error.message)")
        }
    }

    // MARK: Rows of an adopted table

    private var hasValidUID: String { "\(uidColumn) ~ '^[0-9A-Za-z_-]{1,\(ClipUID.lengthMax)}$'" }
    private static let statusList = ClipStatus.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")

    public func unmetClips(after: ClipUID?, limit: Int) throws -> [ClipRecord] {
        let isUnmet = "b.uid IS NULL AND c.status::text IN (\(Self.statusList)) AND \(hasValidUID)"
        let table = "\(schema.table.sql) c LEFT JOIN clipbridge_clips b ON \(ownUID) = \(uidColumn)"
        let taken = try unheldOf(
            "SELECT \(uidColumn) AS uid FROM \(table) WHERE \(isUnmet) AND \(uidColumn) > $1 "
                + "ORDER BY \(uidColumn) LIMIT $2",
            [.text(after?.rawValue ?? ""), .init(limit)], limit: limit)
        if taken.isEmpty { return [] }
        return try rows(
            """
            SELECT \(tableColumns), \(Self.ownColumns) FROM \(table) LEFT JOIN clipbridge_work w ON w.uid = b.uid
            WHERE \(isUnmet) AND \(uidColumn) = ANY ($1::text[]) ORDER BY \(uidColumn)
            """, [.init(taken)]
        ).map(Self.clip)
    }

    public func requestingRows(limit: Int) throws -> [RequestingRow] {
        // A row whose uid is no clip's is nobody's to hold, and comes last.
        let asking = "FROM \(schema.table.sql) c WHERE c.\(PostgresSchema.asksForStatus)"
        let taken = try unheldOf(
            "SELECT \(uidColumn) AS uid \(asking) AND \(hasValidUID) ORDER BY \(uidColumn) LIMIT $1",
            [.init(generous(limit))], limit: limit)
        let word = """
            SELECT \(uidColumn) AS uid, CASE WHEN jsonb_typeof(c.processing_details -> 'requested_status') = 'string'
                THEN c.processing_details ->> 'requested_status' END AS word
            """
        let found =
            taken.isEmpty
            ? try rows("\(word) \(asking) AND NOT \(hasValidUID) LIMIT $1", [.init(limit)])
            : try rows("\(word) \(asking) AND \(uidColumn) = ANY ($1::text[])", [.init(taken)])
        return found.map { RequestingRow(uid: $0.text("uid") ?? "", requestedStatus: $0.text("word")) }
    }

    public func clearRequest(uid: String) throws -> Bool {
        if let uid = ClipUID(uid) { known[uid] = nil }
        let refusal = try guarded {
            try self.execute(
                "UPDATE \(self.schema.table.sql) AS c SET processing_details = c.processing_details "
                    + "- '\(DetailKey.requestedStatus)' - '\(DetailKey.statusRequestTime)' "
                    + "WHERE \(self.uidColumn) = $1",
                [.text(uid)])
        }
        // A trigger of the application may say nothing, or put it back.
        return try refusal == nil && !hasRow(uid, where: "c.\(PostgresSchema.asksForStatus)")
    }

    private func hasRow(_ uid: String, where condition: String = "true") throws -> Bool {
        try execute(
            "SELECT 1 FROM \(schema.table.sql) c WHERE \(uidColumn) = $1 AND \(condition)", [.text(uid)]
        ).row != nil
    }

    public func foreignRowCount() throws -> Int {
        Int(
            try execute(
                """
                SELECT count(*) AS n FROM \(schema.table.sql) c
                WHERE c.status IS NULL OR c.status::text NOT IN (\(Self.statusList)) OR NOT \(hasValidUID)
                """
            ).row?.integer("n") ?? 0)
    }

    private static func clip(_ row: PostgresRow) throws -> ClipRecord {
        guard let uid = row.uid("uid") else {
            throw StoreError(.corrupt, "the row \"\(row.text("uid") ?? "")\" has no valid uid")
        }
        let never = Timestamp(milliseconds: 0)
        return ClipRecord(
            uid: uid, statusWord: row.text("status_word"), detailsText: row.text("details"),
            failedFrom: row.text("failed_from").flatMap(ClipStatus.init(rawValue:)),
            progress: row.double("progress") ?? 0, createdAt: row.time("created_at") ?? never,
            updatedAt: row.time("updated_at") ?? never, changeSeq: row.integer("change_seq") ?? 0,
            work: try work(row, uid: uid), isMet: row.text("met") != nil)
    }

    // MARK: Deliveries

    public func insertDelivery(_ delivery: NewDelivery) throws -> (id: Int64, isDuplicate: Bool) {
        let inserted = try execute(
            """
            INSERT INTO clipbridge_deliveries (received_at, signed_at, signature, body, body_sha256, uid, outcome)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (body_sha256) DO NOTHING RETURNING id
            """,
            [
                .init(delivery.receivedAt), .init(delivery.signedAt), .text(delivery.signatureHeader),
                .bytes(delivery.body), .bytes(delivery.bodySHA256), .init(delivery.uid?.rawValue),
                .text(delivery.outcome.rawValue),
            ])
        if let id = inserted.row?.integer("id") { return (id, false) }
        let first = try execute(
            "SELECT id FROM clipbridge_deliveries WHERE body_sha256 = $1", [.bytes(delivery.bodySHA256)])
        guard let id = first.row?.integer("id") else {
            throw StoreError(.unavailable, "a delivery with the same body was removed just now")
        }
        return (id, true)
    }

    public func delivery(_ id: Int64) throws -> DeliveryRecord? {
        try rows("SELECT * FROM clipbridge_deliveries WHERE id = $1", [.init(id)]).first.map(Self.delivery)
    }

    public func deliveries(uid: ClipUID?, before: Int64?, limit: Int) throws -> [DeliveryRecord] {
        let page = [PostgresValue(before ?? .max), PostgresValue(limit)]
        if let uid {
            return try rows(
                "SELECT * FROM clipbridge_deliveries WHERE uid = $3 AND id < $1 ORDER BY id DESC LIMIT $2",
                page + [.text(uid.rawValue)]
            ).map(Self.delivery)
        }
        return try rows("SELECT * FROM clipbridge_deliveries WHERE id < $1 ORDER BY id DESC LIMIT $2", page)
            .map(Self.delivery)
    }

    public func deleteDeliveries(receivedBefore limitTime: Timestamp, limit: Int) throws -> Int {
        try execute(
            """
            DELETE FROM clipbridge_deliveries WHERE id IN (
                SELECT id FROM clipbridge_deliveries WHERE received_at < $1 ORDER BY received_at LIMIT $2
                FOR UPDATE SKIP LOCKED)
            """, [.init(limitTime), .init(limit)]
        ).count
    }

    private static func delivery(_ row: PostgresRow) throws -> DeliveryRecord {
        let id = row.integer("id") ?? 0
        guard let outcome = row.text("outcome").flatMap(DeliveryOutcome.init(rawValue:)),
            let received = row.time("received_at"), let signed = row.time("signed_at")
        else { throw StoreError(.corrupt, "delivery \(id) has an unknown outcome or time") }
        return DeliveryRecord(
            id: id, receivedAt: received, signedAt: signed, signatureHeader: row.text("signature") ?? "",
            body: row.bytes("body"), uid: row.uid("uid"), outcome: outcome)
    }

    // MARK: Ledger

    public func insertSignal(_ signal: Signal, delivery: Int64?, at now: Timestamp) throws -> Int64 {
        let (kind, word) = signal.request.columns
        let inserted = try execute(
            """
            INSERT INTO clipbridge_signals (uid, at, source, kind, requested_status, percent, details, delivery, trace)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING seq
            """,
            [
                .text(signal.uid.rawValue), .init(now), .text(signal.source.rawValue), .text(kind), .init(word),
                .init(signal.percent), .text(DetailsText.encode(signal.details)), .init(delivery),
                .init(signal.trace?.rawValue),
            ])
        guard let seq = inserted.row?.integer("seq") else {
            throw StoreError(.corrupt, "the ledger gave no number to an entry")
        }
        if delivery != nil { stored = true }
        return seq
    }

    public func entry(_ seq: Int64) throws -> LedgerEntry? {
        try rows("SELECT * FROM clipbridge_signals WHERE seq = $1", [.init(seq)]).first.map(Self.entry)
    }

    public func pendingEntries(limit: Int) throws -> [LedgerEntry] {
        let taken = try unheldOf(
            """
            SELECT DISTINCT uid FROM (
                SELECT uid FROM clipbridge_signals WHERE outcome IS NULL ORDER BY seq LIMIT $1
            ) AS oldest
            """, [.init(generous(limit))], limit: limit)
        if taken.isEmpty { return [] }
        return try rows(
            "SELECT * FROM clipbridge_signals WHERE outcome IS NULL AND uid = ANY ($1::text[]) ORDER BY seq LIMIT $2",
            [.init(taken), .init(limit)]
        ).map(Self.entry)
    }

    public func pendingEntries(of uid: ClipUID) throws -> [LedgerEntry] {
        try rows(
            "SELECT * FROM clipbridge_signals WHERE uid = $1 AND outcome IS NULL ORDER BY seq", [.text(uid.rawValue)]
        ).map(Self.entry)
    }

    public func settleEntry(_ entry: LedgerEntry, epoch: Int64?, at now: Timestamp) throws {
        try execute(
            """
            UPDATE clipbridge_signals SET outcome = $1, reason = $2, from_status = $3, to_status = $4,
                requested_status = $5, epoch = $6, decided_at = $7
            WHERE seq = $8 AND outcome IS NULL
            """,
            [
                .init(entry.outcome?.rawValue), .init(entry.reason?.rawValue), .init(entry.from?.rawValue),
                .init(entry.to?.rawValue), .init(entry.requestedStatus), .init(epoch), .init(now), .init(entry.seq),
            ])
    }

    public func history(of uid: ClipUID) throws -> [LedgerEntry] {
        try rows("SELECT * FROM clipbridge_signals WHERE uid = $1 ORDER BY seq", [.text(uid.rawValue)])
            .map(Self.entry)
    }

    public func uids(after: String?, limit: Int) throws -> [String] {
        try rows(
            """
            SELECT uid FROM (
                (SELECT uid FROM clipbridge_clips WHERE uid > $1 ORDER BY uid LIMIT $2)
                UNION (SELECT DISTINCT uid FROM clipbridge_signals WHERE uid > $1 ORDER BY uid LIMIT $2)
            ) AS own ORDER BY uid LIMIT $2
            """, [.text(after ?? ""), .init(limit)]
        ).compactMap { $0.text("uid") }
    }

    private static func entry(_ row: PostgresRow) throws -> LedgerEntry {
        let seq = row.integer("seq") ?? 0
        guard let uid = row.uid("uid"), let at = row.time("at"), let kind = row.text("kind"),
            let source = row.text("source").flatMap(SignalSource.init(rawValue:))
        else { throw StoreError(.corrupt, "ledger entry \(seq) has an unknown uid, time, kind or source") }
        let request = Signal.Request(kind: kind, requestedStatus: row.text("requested_status"))
        return LedgerEntry(
            seq: seq, at: at,
            signal: Signal(
                uid: uid, source: source, request: request, details: DetailsText.decodeObject(row.text("details")),
                percent: row.double("percent"), trace: row.text("trace").flatMap(TraceID.init(rawValue:))),
            delivery: row.text("delivery"),
            outcome: row.text("outcome").flatMap(LedgerEntry.Outcome.init(rawValue:)),
            reason: row.text("reason").flatMap(RejectionReason.init(rawValue:)),
            from: row.text("from_status").flatMap(ClipStatus.init(rawValue:)),
            to: row.text("to_status").flatMap(ClipStatus.init(rawValue:)))
    }

    // MARK: Work

    public func work(of uid: ClipUID) throws -> Work? {
        try rows("SELECT * FROM clipbridge_work WHERE uid = $1", [.text(uid.rawValue)]).first
            .flatMap { try Self.work($0, uid: uid) }
    }

    public func putWork(_ work: Work) throws {
        known[work.uid] = nil
        try execute(
            """
            INSERT INTO clipbridge_work (
                uid, action, due_at, attempt, polls, crashes, first_failed_at, stage_entered_at, mp4_requests,
                percent, percent_at, lease_owner, lease_until, epoch, trace
            ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
            ON CONFLICT (uid) DO UPDATE SET action = excluded.action, due_at = excluded.due_at,
                attempt = excluded.attempt, polls = excluded.polls, crashes = excluded.crashes,
                first_failed_at = excluded.first_failed_at, stage_entered_at = excluded.stage_entered_at,
                mp4_requests = excluded.mp4_requests, percent = excluded.percent, percent_at = excluded.percent_at,
                lease_owner = excluded.lease_owner, lease_until = excluded.lease_until, epoch = excluded.epoch,
                trace = excluded.trace
            """,
            [
                .text(work.uid.rawValue), .text(work.action.rawValue), .init(work.dueAt), .init(work.attempt),
                .init(work.polls), .init(work.crashes), .init(work.firstFailedAt), .init(work.stageEnteredAt),
                .init(work.mp4Requests), .init(work.percent), .init(work.percentAt), .init(work.lease?.owner),
                .init(work.lease?.until), .init(work.lease?.epoch), .init(work.trace?.rawValue),
            ])
        // Whoever waits for the next work that is due may have to wait less.
        if work.lease == nil, let now, work.dueAt <= now { stored = true }
    }

    public func removeWork(of uid: ClipUID) throws {
        known[uid] = nil
        try execute("DELETE FROM clipbridge_work WHERE uid = $1", [.text(uid.rawValue)])
    }

    public func dueWork(_ actions: [Action], at now: Timestamp, limit: Int) throws -> [Work] {
        let isDue = "action = $1 AND due_at <= $2 AND lease_owner IS NULL"
        let found = try actions.flatMap { action in
            let parameters = [PostgresValue.text(action.rawValue), .init(now)]
            let taken = try take(
                "SELECT uid FROM clipbridge_work WHERE \(isDue) ORDER BY due_at LIMIT $3",
                parameters + [.init(generous(limit))], limit: limit)
            if taken.isEmpty { return [Work]() }
            return try rows(
                "SELECT * FROM clipbridge_work WHERE \(isDue) AND uid = ANY ($3::text[])",
                parameters + [.init(taken)]
            ).compactMap(Self.work)
        }
        return Array(found.sorted { ($0.dueAt, $0.uid) < ($1.dueAt, $1.uid) }.prefix(limit))
    }

    public func nextDue(_ actions: [Action]) throws -> Timestamp? {
        try actions.compactMap { action in
            try execute(
                "SELECT min(due_at) AS due FROM clipbridge_work WHERE action = $1 AND lease_owner IS NULL",
                [.text(action.rawValue)]
            ).row?.time("due")
        }.min()
    }

    public func expiredWork(at now: Timestamp, until end: Timestamp, limit: Int) throws -> [Work] {
        let isExpired =
            "lease_owner IN (SELECT lease_owner FROM clipbridge_work "
            + "WHERE lease_owner IS NOT NULL AND lease_until <= $1) AND lease_until <= $2"
        let taken = try take(
            "SELECT uid FROM clipbridge_work WHERE \(isExpired) ORDER BY lease_until LIMIT $3",
            [.init(now), .init(end), .init(generous(limit))], limit: limit)
        if taken.isEmpty { return [] }
        let expired = try rows(
            "SELECT * FROM clipbridge_work WHERE \(isExpired) AND uid = ANY ($3::text[]) ORDER BY uid",
            [.init(now), .init(end), .init(taken)]
        ).compactMap(Self.work)
        if isReadOnly { return expired }
        // Whose work can not all be taken now comes whole the next time: it counts who was in flight with whom.
        let all = try rows(
            "SELECT lease_owner, count(*) AS n FROM clipbridge_work WHERE \(isExpired) GROUP BY lease_owner",
            [.init(now), .init(end)]
        ).reduce(into: [:]) { $0[$1.text("lease_owner"), default: 0] += Int($1.integer("n") ?? 0) }
        let here = Dictionary(grouping: expired) { $0.lease?.owner }.mapValues(\.count)
        return expired.filter { (all[$0.lease?.owner] ?? 0) <= (here[$0.lease?.owner] ?? 0) }
    }

    public func renewLeases(owner: String, epochs: Set<Int64>, until: Timestamp) throws {
        // Without waiting for anybody: what is being written is prolonged the next time, or needs no lease any more.
        try execute(
            """
            UPDATE clipbridge_work SET lease_until = $3 WHERE uid IN (
                SELECT uid FROM clipbridge_work WHERE lease_owner = $1 AND epoch = ANY ($2::bigint[])
                FOR UPDATE SKIP LOCKED)
            """, [.text(owner), .init(epochs), .init(until)])
    }

    public func endLeases(exceptOf owner: String, at now: Timestamp) throws {
        try execute(
            "UPDATE clipbridge_work SET lease_until = $1 WHERE lease_owner IS NOT NULL AND lease_owner <> $2",
            [.init(now), .text(owner)])
    }

    public func nextEpoch() throws -> Int64 {
        try execute("SELECT nextval('clipbridge_epoch') AS epoch").row?.integer("epoch") ?? 0
    }

    private static func work(_ row: PostgresRow) throws -> Work? {
        try row.uid("uid").flatMap { try work(row, uid: $0) }
    }

    private static func work(_ row: PostgresRow, uid: ClipUID) throws -> Work? {
        guard let word = row.text("action") else { return nil }
        guard let action = Action(rawValue: word), let due = row.time("due_at"),
            let entered = row.time("stage_entered_at")
        else { throw StoreError(.corrupt, "the work of \(uid) is an unknown action \"\(word)\" or has no time") }
        func count(_ column: String) -> Int { Int(row.integer(column) ?? 0) }
        var work = Work(
            uid: uid, action: action, dueAt: due, stageEnteredAt: entered, mp4Requests: count("mp4_requests"))
        (work.attempt, work.polls, work.crashes) = (count("attempt"), count("polls"), count("crashes"))
        work.firstFailedAt = row.time("first_failed_at")
        (work.percent, work.percentAt) = (row.double("percent"), row.time("percent_at"))
        work.trace = row.text("trace").flatMap(TraceID.init(rawValue:))
        if let owner = row.text("lease_owner") {
            work.lease = Lease(
                owner: owner, until: row.time("lease_until") ?? Timestamp(milliseconds: 0),
                epoch: row.integer("epoch") ?? 0)
        }
        return work
    }

    // MARK: Texts

    /// Nobody else can read it so until the transaction ends, whether it is there or not.
    func text(_ name: String) throws -> (body: String?, now: Timestamp?) {
        try execute("SELECT pg_advisory_xact_lock(hashtextextended($1, \(Self.lockSeed)))", [.text("text \(name)")])
        // The clock is read behind the lock, so that time goes forward from one to the next.
        let row = try execute(
            "SELECT (SELECT body FROM clipbridge_texts WHERE name = $1) AS body, "
                + "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now", [.text(name)]
        ).row
        return (row?.text("body"), row?.time("now"))
    }

    func put(_ text: String?, _ name: String) throws {
        guard let text else {
            try execute("DELETE FROM clipbridge_texts WHERE name = $1", [.text(name)])
            return
        }
        try execute(
            "INSERT INTO clipbridge_texts VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
            [.text(name), .text(text)])
    }

    // MARK: Transfers

    public func transfer(of uid: ClipUID) throws -> TransferRecord? {
        try rows("SELECT * FROM clipbridge_transfers WHERE uid = $1", [.text(uid.rawValue)]).first
            .map { try transfer($0, of: uid) }
    }

    public func transfers() throws -> [ClipUID: TransferRecord] {
        try rows("SELECT * FROM clipbridge_transfers").reduce(into: [:]) { found, row in
            if let uid = row.uid("uid") { found[uid] = try transfer(row, of: uid) }
        }
    }

    public func putTransfer(_ transfer: TransferRecord, of uid: ClipUID) throws {
        try execute(
            """
            INSERT INTO clipbridge_transfers VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            ON CONFLICT (uid) DO UPDATE SET source_url = excluded.source_url, source_etag = excluded.source_etag,
                size = excluded.size, spool_path = excluded.spool_path, spool_host = excluded.spool_host,
                is_fetched = excluded.is_fetched, object_key = excluded.object_key,
                part_bytes = excluded.part_bytes, upload_id = excluded.upload_id, object_etag = excluded.object_etag
            """,
            [
                .text(uid.rawValue), .text(transfer.sourceURL), .init(transfer.sourceETag), .init(transfer.size),
                .text(transfer.spoolPath), .text(transfer.spoolHost), .text(transfer.isFetched ? "t" : "f"),
                .text(transfer.objectKey), .init(transfer.partBytes), .init(transfer.uploadID),
                .init(transfer.objectETag),
            ])
        try removeParts(of: uid)
        for part in transfer.parts { try putTransferPart(part, of: uid) }
    }

    public func putTransferPart(_ part: TransferPart, of uid: ClipUID) throws {
        try execute(
            """
            INSERT INTO clipbridge_transfer_parts VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (uid, number) DO UPDATE SET size = excluded.size, sha256 = excluded.sha256, etag = excluded.etag
            """,
            [.text(uid.rawValue), .init(part.number), .init(part.size), .text(part.sha256), .text(part.etag)])
    }

    public func removeTransfer(of uid: ClipUID) throws {
        try execute("DELETE FROM clipbridge_transfers WHERE uid = $1", [.text(uid.rawValue)])
        try removeParts(of: uid)
    }

    private func removeParts(of uid: ClipUID) throws {
        try execute("DELETE FROM clipbridge_transfer_parts WHERE uid = $1", [.text(uid.rawValue)])
    }

    private func transfer(_ row: PostgresRow, of uid: ClipUID) throws -> TransferRecord {
        let parts = try rows(
            "SELECT * FROM clipbridge_transfer_parts WHERE uid = $1 ORDER BY number", [.text(uid.rawValue)]
        ).map {
            TransferPart(
                number: Int($0.integer("number") ?? 0), size: UInt64($0.integer("size") ?? 0),
                sha256: $0.text("sha256") ?? "", etag: $0.text("etag") ?? "")
        }
        return TransferRecord(
            sourceURL: row.text("source_url") ?? "", sourceETag: row.text("source_etag"),
            size: row.integer("size").map(UInt64.init), spoolPath: row.text("spool_path") ?? "",
            spoolHost: row.text("spool_host") ?? "", isFetched: row.bool("is_fetched"),
            objectKey: row.text("object_key") ?? "", partBytes: row.integer("part_bytes").map(UInt64.init),
            uploadID: row.text("upload_id"), objectETag: row.text("object_etag"), parts: parts)
    }

    // MARK: Outbox

    public func insertMessage(_ message: OutboxMessage) throws {
        try execute(
            """
            INSERT INTO clipbridge_outbox (target, kind, uid, source, body, created_at, due_at, attempt)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (target, source) DO NOTHING
            """,
            [
                .text(message.target), .text(message.kind.rawValue), .text(message.uid?.rawValue ?? ""),
                .init(message.source), .bytes(message.body), .init(message.createdAt), .init(message.dueAt),
                .init(message.attempt),
            ])
    }

    private static let isOldest = """
        NOT EXISTS (SELECT FROM clipbridge_outbox o WHERE o.target = m.target AND o.uid = m.uid AND o.id < m.id)
        """

    /// Rows and not clips are held here: a message is nobody's but who sends it, and a clip that is being written must
    /// not keep its messages. A row that somebody else has claimed meanwhile is read again, and is due no more.
    public func dueMessages(to target: String, at now: Timestamp, limit: Int) throws -> [OutboxMessage] {
        try rows(
            """
            SELECT * FROM clipbridge_outbox m WHERE target = $1 AND due_at <= $2 AND \(Self.isOldest)
            ORDER BY due_at, id LIMIT $3 \(isReadOnly ? "" : "FOR UPDATE OF m SKIP LOCKED")
            """, [.text(target), .init(now), .init(limit)]
        ).map(Self.message)
    }

    public func nextMessageDue(to target: String) throws -> Timestamp? {
        try execute(
            "SELECT due_at FROM clipbridge_outbox m WHERE target = $1 AND \(Self.isOldest) ORDER BY due_at LIMIT 1",
            [.text(target)]
        ).row?.time("due_at")
    }

    public func putMessage(_ message: OutboxMessage, heldUnder epoch: Int64?) throws -> Bool {
        try execute(
            "UPDATE clipbridge_outbox SET due_at = $1, attempt = $2, lease_owner = $3, epoch = $4 "
                + "WHERE id = $5 AND epoch IS NOT DISTINCT FROM $6::bigint",
            [
                .init(message.dueAt), .init(message.attempt), .init(message.lease?.owner),
                .init(message.lease?.epoch), .init(message.id), .init(epoch),
            ]
        ).count == 1
    }

    public func removeMessage(_ id: Int64, heldUnder epoch: Int64) throws -> Bool {
        try execute("DELETE FROM clipbridge_outbox WHERE id = $1 AND epoch = $2", [.init(id), .init(epoch)]).count == 1
    }

    public func messageCounts() throws -> [String: Int] {
        try rows("SELECT target, count(*) AS n FROM clipbridge_outbox GROUP BY target").reduce(into: [:]) {
            $0[$1.text("target") ?? ""] = Int($1.integer("n") ?? 0)
        }
    }

    public func removeMessages(exceptTo targets: [String]) throws -> Int {
        try execute("DELETE FROM clipbridge_outbox WHERE target <> ALL ($1::text[])", [.init(targets)]).count
    }

    public func endMessageLeases(exceptOf owner: String, at now: Timestamp) throws {
        try execute(
            "UPDATE clipbridge_outbox SET due_at = $1, lease_owner = NULL, epoch = NULL "
                + "WHERE lease_owner IS NOT NULL AND lease_owner <> $2", [.init(now), .text(owner)])
    }

    public func messages(after id: Int64, limit: Int) throws -> [OutboxMessage] {
        try rows("SELECT * FROM clipbridge_outbox WHERE id > $1 ORDER BY id LIMIT $2", [.init(id), .init(limit)])
            .map(Self.message)
    }

    private static func message(_ row: PostgresRow) throws -> OutboxMessage {
        let id = row.integer("id") ?? 0
        guard let kind = row.text("kind").flatMap(OutboxMessage.Kind.init(rawValue:)),
            let created = row.time("created_at"), let due = row.time("due_at")
        else { throw StoreError(.corrupt, "message \(id) of the outbox has an unknown kind or time") }
        return OutboxMessage(
            id: id, target: row.text("target") ?? "", kind: kind, uid: row.uid("uid"),
            source: row.integer("source") ?? 0, body: row.bytes("body"), createdAt: created, dueAt: due,
            attempt: Int(row.integer("attempt") ?? 0),
            lease: row.text("lease_owner").map { Lease(owner: $0, until: due, epoch: row.integer("epoch") ?? 0) })
    }

    // MARK: Copies

    private static let sequences = (
        delivery: "pg_get_serial_sequence('clipbridge_deliveries', 'id')::regclass",
        entry: "pg_get_serial_sequence('clipbridge_signals', 'seq')::regclass",
        change: "'clipbridge_change_seq'::regclass", epoch: "'clipbridge_epoch'::regclass"
    )

    public func counters() throws -> StoreCounters {
        // A sequence that has given nothing yet has no last value. Of rows it tells nothing: it gives numbers to
        // transactions that come to nothing, too.
        func last(_ sequence: String) -> String { "coalesce(pg_sequence_last_value(\(sequence)), 0)" }
        let row = try execute(
            """
            SELECT (SELECT coalesce(max(id), 0) FROM clipbridge_deliveries) AS delivery,
                (SELECT coalesce(max(seq), 0) FROM clipbridge_signals) AS entry,
                \(last(Self.sequences.change)) AS change, \(last(Self.sequences.epoch)) AS epoch
            """
        ).row
        return StoreCounters(
            delivery: row?.integer("delivery") ?? 0, entry: row?.integer("entry") ?? 0,
            change: row?.integer("change") ?? 0, epoch: row?.integer("epoch") ?? 0)
    }

    public func raiseCounters(to counters: StoreCounters) throws {
        let names = Self.sequences
        for (sequence, value) in [
            (names.delivery, counters.delivery), (names.entry, counters.entry), (names.change, counters.change),
            (names.epoch, counters.epoch),
        ] where value > 0 {
            try execute(
                "SELECT setval(\(sequence), greatest($1::bigint, coalesce(pg_sequence_last_value(\(sequence)), 1)))",
                [.init(value)])
        }
    }

    public func storedDeliveries(after id: Int64, limit: Int) throws -> [StoredDelivery] {
        try rows(
            "SELECT * FROM clipbridge_deliveries WHERE id > $1 ORDER BY id LIMIT $2", [.init(id), .init(limit)]
        ).map { StoredDelivery(record: try Self.delivery($0), bodySHA256: $0.bytes("body_sha256")) }
    }

    public func storedEntries(after seq: Int64, limit: Int) throws -> [StoredEntry] {
        try rows(
            "SELECT * FROM clipbridge_signals WHERE seq > $1 ORDER BY seq LIMIT $2", [.init(seq), .init(limit)]
        ).map {
            StoredEntry(entry: try Self.entry($0), epoch: $0.integer("epoch"), decidedAt: $0.time("decided_at"))
        }
    }

    public func restore(_ delivery: StoredDelivery) throws {
        let record = delivery.record
        try execute(
            """
            INSERT INTO clipbridge_deliveries
                (id, received_at, signed_at, signature, body, body_sha256, uid, outcome)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING
            """,
            [
                .init(record.id), .init(record.receivedAt), .init(record.signedAt), .text(record.signatureHeader),
                .bytes(record.body), .bytes(delivery.bodySHA256), .init(record.uid?.rawValue),
                .text(record.outcome.rawValue),
            ])
    }

    public func restore(_ stored: StoredEntry) throws {
        let entry = stored.entry
        let (kind, word) = entry.signal.request.columns
        try execute(
            """
            INSERT INTO clipbridge_signals (
                seq, uid, at, source, kind, requested_status, percent, details, delivery, outcome, reason,
                from_status, to_status, epoch, decided_at, trace
            ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
            ON CONFLICT (seq) DO UPDATE SET requested_status = excluded.requested_status, outcome = excluded.outcome,
                reason = excluded.reason, from_status = excluded.from_status, to_status = excluded.to_status,
                epoch = excluded.epoch, decided_at = excluded.decided_at
            """,
            [
                .init(entry.seq), .text(entry.signal.uid.rawValue), .init(entry.at),
                .text(entry.signal.source.rawValue), .text(kind), .init(entry.requestedStatus ?? word),
                .init(entry.signal.percent), .text(DetailsText.encode(entry.signal.details)),
                .init(entry.delivery.flatMap { Int64($0) }), .init(entry.outcome?.rawValue),
                .init(entry.reason?.rawValue), .init(entry.from?.rawValue), .init(entry.to?.rawValue),
                .init(stored.epoch), .init(stored.decidedAt), .init(entry.signal.trace?.rawValue),
            ])
    }

    public func restore(_ clip: ClipRecord) throws {
        known[clip.uid] = nil
        let table = [
            PostgresValue.text(clip.uid.rawValue), .init(clip.statusWord), .text(Self.jsonb(clip.details)),
        ]
        let updated = try execute(
            "UPDATE \(schema.table.sql) AS c SET status = $2, processing_details = $3 WHERE \(uidColumn) = $1", table)
        if updated.count == 0 {
            try execute(
                "INSERT INTO \(schema.table.sql) (\(schema.uidColumn.sql), status, processing_details) "
                    + "VALUES ($1, $2, $3)", table)
        }
        try execute(
            """
            INSERT INTO clipbridge_clips (uid, status, failed_from, progress, created_at, updated_at, change_seq)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (uid) DO UPDATE SET status = excluded.status, failed_from = excluded.failed_from,
                progress = excluded.progress, created_at = excluded.created_at, updated_at = excluded.updated_at,
                change_seq = excluded.change_seq
            """,
            [
                .text(clip.uid.rawValue), .text(clip.statusWord ?? ""), .init(clip.failedFrom?.rawValue),
                .init(clip.progress), .init(clip.createdAt), .init(clip.updatedAt), .init(clip.changeSeq),
            ])
        if let work = clip.work { try putWork(work) } else { try removeWork(of: clip.uid) }
    }
}
