// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import GRDB

/// The tables: the application's `clips`, which may have been there before, and the bridge's own.
struct SQLiteSchema: Sendable {
    /// The newest version that this program knows.
    static let version = Self.migrations.count

    let table: SQLName
    let uidColumn: SQLName

    /// True where another program asks for a status. Guarded by `json_valid`, because the column is not only ours,
    /// and by CASE, because only that fixes the order of evaluation.
    var asksForStatus: String {
        "CASE WHEN json_valid(processing_details) "
            + "THEN json_extract(processing_details, '$.requested_status') END IS NOT NULL"
    }

    func migrate(_ database: Database) throws {
        try database.execute(
            sql: "CREATE TABLE IF NOT EXISTS clipbridge_meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL)")
        let present = try storedVersion(database)
        try refuseNewer(present)
        for migration in Self.migrations.dropFirst(present) { try database.execute(sql: migration) }
        try database.execute(
            sql: "INSERT INTO clipbridge_meta VALUES ('schema_version', ?) "
                + "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            arguments: [Self.version])
        try prepareClipsTable(database)
        try forgetStaleArrivals(database)
    }

    func checkVersion(_ database: Database) throws {
        guard try database.tableExists("clipbridge_meta") else {
            throw StoreError(.noSchema, "the store has no schema yet: run clipbridge store migrate")
        }
        let present = try storedVersion(database)
        try refuseNewer(present)
        if present < Self.version {
            throw StoreError(
                .unavailable,
                "the store has schema \(present), this program needs \(Self.version): run clipbridge store migrate")
        }
    }

    private func storedVersion(_ database: Database) throws -> Int {
        try Int.fetchOne(database, sql: "SELECT value FROM clipbridge_meta WHERE key = 'schema_version'") ?? 0
    }

    private func refuseNewer(_ present: Int) throws {
        if present > Self.version {
            throw StoreError(
                .newerSchema,
                "the store has schema \(present), this program knows only \(Self.version): use the newer clipbridge")
        }
    }

    // MARK: The clips table

    /// Makes what is missing: the table, and what is kept on it, which is lost when the application makes it anew.
    func prepareClipsTable(_ database: Database) throws {
        if try columns(database).isEmpty {
            try database.execute(
                sql: """
                    CREATE TABLE \(table.sql) (
                        \(uidColumn.sql) TEXT NOT NULL PRIMARY KEY,
                        status TEXT,
                        processing_details TEXT
                    )
                    """)
        }
        try checkSuitable(database)
        let name = "\"\(table.name.replacingQuotes)\""
        try database.execute(
            sql: """
                CREATE INDEX IF NOT EXISTS \(prefix)clipbridge_requested
                ON \(name) (\(uidColumn.sql)) WHERE \(asksForStatus);
                CREATE INDEX IF NOT EXISTS \(prefix)clipbridge_foreign
                ON \(name) (\(uidColumn.sql)) WHERE \(isForeign(""))
                """)
        try noteForeignWrites(database)
    }

    private var prefix: String { table.schema.map { "\"\($0.replacingQuotes)\"." } ?? "" }

    /// True for a row that is left alone: its status is not the bridge's, or its uid not Cloudflare's.
    /// - Parameter row: what names the row, such as `c.`.
    func isForeign(_ row: String) -> String {
        let uid = "\(row)\(uidColumn.sql)"
        return """
            \(row)status IS NULL OR \(row)status NOT IN (\(Self.statusList))
            OR length(\(uid)) NOT BETWEEN 1 AND \(ClipUID.lengthMax) OR \(uid) GLOB '*[^0-9A-Za-z_-]*'
            """
    }

    /// True for a row whose uid can be read: SQLite keeps anything in any column, and some of its functions see a text
    /// only as far as its first zero byte.
    func hasReadableUID(_ row: String) -> String {
        let uid = "\(row)\(uidColumn.sql)"
        return "typeof(\(uid)) = 'text' AND \(uid) NOT GLOB '*[^ -~]*' AND instr(CAST(\(uid) AS BLOB), x'00') = 0"
    }

    static let statusList = ClipStatus.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")

    /// Has the table itself note the rows that other programs insert or remove, also while no bridge runs.
    private func noteForeignWrites(_ database: Database) throws {
        let events = [("clipbridge_inserted", "INSERT"), ("clipbridge_updated", "UPDATE OF \(uidColumn.sql), status")]
        let present = try Set(
            String.fetchAll(
                database,
                sql: "SELECT name FROM \(prefix)sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?)",
                arguments: [table.name]))
        // One that is removed is forgotten, so that it is met anew if it comes back.
        if !present.contains("clipbridge_removed") {
            try database.execute(
                sql: """
                    CREATE TRIGGER \(prefix)clipbridge_removed AFTER DELETE ON \"\(table.name.replacingQuotes)\"
                    BEGIN
                        DELETE FROM clipbridge_clips WHERE uid = OLD.\(uidColumn.sql);
                        DELETE FROM clipbridge_arrivals WHERE uid = OLD.\(uidColumn.sql);
                    END
                    """)
        }
        guard !present.isSuperset(of: events.map(\.0)) else { return }
        for (name, event) in events {
            try database.execute(
                sql: """
                    DROP TRIGGER IF EXISTS \(prefix)\(name);
                    CREATE TRIGGER \(prefix)\(name) AFTER \(event) ON \"\(table.name.replacingQuotes)\"
                    WHEN NOT (\(isForeign("NEW.")))
                        AND NOT EXISTS (SELECT 1 FROM clipbridge_clips WHERE uid = NEW.\(uidColumn.sql))
                    BEGIN INSERT OR IGNORE INTO clipbridge_arrivals VALUES (NEW.\(uidColumn.sql)); END
                    """)
        }
        try database.execute(
            sql: """
                INSERT OR IGNORE INTO clipbridge_arrivals SELECT c.\(uidColumn.sql) FROM \(table.sql) c
                WHERE NOT (\(isForeign("c."))) AND c.\(uidColumn.sql) NOT IN (SELECT uid FROM clipbridge_clips)
                """)
    }

    /// Rows that were noted and then met, removed or changed are not waited for.
    private func forgetStaleArrivals(_ database: Database) throws {
        let uid = "c.\(uidColumn.sql)"
        try database.execute(
            sql: """
                DELETE FROM clipbridge_arrivals
                WHERE uid IN (SELECT uid FROM clipbridge_clips) OR NOT EXISTS (SELECT 1 FROM \(table.sql) c
                    WHERE \(uid) = clipbridge_arrivals.uid AND NOT (\(isForeign("c."))))
                """)
    }

    private func columns(_ database: Database) throws -> [String] {
        try String.fetchAll(
            database, sql: "SELECT name FROM pragma_table_info(?, ?)",
            arguments: [table.name, table.schema ?? "main"])
    }

    private func checkSuitable(_ database: Database) throws {
        let present = Set(try columns(database).map { $0.lowercased() })
        for needed in [uidColumn.name, "status", "processing_details"] where !present.contains(needed.lowercased()) {
            throw StoreError(.unsuitableTable, "the table \(table.sql) has no column \"\(needed)\"")
        }
        let unique = try String.fetchAll(
            database,
            sql: """
                SELECT lower(c.name) FROM pragma_index_list(?, ?) AS i, pragma_index_info(i.name, ?) AS c
                WHERE i."unique" = 1 AND i.partial = 0
                GROUP BY i.name HAVING count(*) = 1
                """,
            arguments: [table.name, table.schema ?? "main", table.schema ?? "main"])
        guard unique.contains(uidColumn.name.lowercased()) else {
            throw StoreError(
                .unsuitableTable,
                "the column \(uidColumn.sql) of the table \(table.sql) must be unique: add a unique index on it")
        }
        let type = try String.fetchOne(
            database, sql: "SELECT type FROM pragma_table_info(?, ?) WHERE name = ? COLLATE NOCASE",
            arguments: [table.name, table.schema ?? "main", uidColumn.name])
        guard Self.keepsTexts(type ?? "") else {
            throw StoreError(
                .unsuitableTable,
                "the column \(uidColumn.sql) of the table \(table.sql) must be text, and is \(type ?? "none")"
            )
        }
    }

    /// Whether a column of that declared type has the affinity TEXT or none
    /// (https://www.sqlite.org/datatype3.html#determination_of_column_affinity).
    private static func keepsTexts(_ type: String) -> Bool {
        let type = type.uppercased()
        if type.contains("INT") { return false }
        return type.isEmpty || ["CHAR", "CLOB", "TEXT", "BLOB"].contains { type.contains($0) }
    }

    // MARK: Migrations

    /// Forward only; each brings the schema from its index to the next number.
    private static let migrations = [
        """
        CREATE TABLE clipbridge_clips (
            uid TEXT NOT NULL PRIMARY KEY,
            status TEXT NOT NULL,
            failed_from TEXT,
            progress REAL NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            change_seq INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE UNIQUE INDEX clipbridge_clips_change ON clipbridge_clips (change_seq);
        CREATE INDEX clipbridge_clips_status ON clipbridge_clips (status, change_seq);

        CREATE TABLE clipbridge_deliveries (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            received_at INTEGER NOT NULL,
            signed_at INTEGER NOT NULL,
            signature TEXT NOT NULL,
            body BLOB NOT NULL,
            body_sha256 BLOB NOT NULL UNIQUE,
            uid TEXT,
            outcome TEXT NOT NULL
        );
        CREATE INDEX clipbridge_deliveries_uid ON clipbridge_deliveries (uid, id);
        CREATE INDEX clipbridge_deliveries_received ON clipbridge_deliveries (received_at);

        CREATE TABLE clipbridge_signals (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            uid TEXT NOT NULL,
            at INTEGER NOT NULL,
            source TEXT NOT NULL,
            kind TEXT NOT NULL,
            requested_status TEXT,
            percent REAL,
            details TEXT NOT NULL,
            delivery INTEGER,
            outcome TEXT,
            reason TEXT,
            from_status TEXT,
            to_status TEXT,
            epoch INTEGER,
            decided_at INTEGER
        );
        CREATE INDEX clipbridge_signals_uid ON clipbridge_signals (uid, seq);
        CREATE INDEX clipbridge_signals_pending ON clipbridge_signals (seq) WHERE outcome IS NULL;
        CREATE INDEX clipbridge_signals_pending_uid ON clipbridge_signals (uid, seq) WHERE outcome IS NULL;

        CREATE TABLE clipbridge_work (
            uid TEXT NOT NULL PRIMARY KEY,
            action TEXT NOT NULL,
            due_at INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            polls INTEGER NOT NULL,
            crashes INTEGER NOT NULL,
            first_failed_at INTEGER,
            stage_entered_at INTEGER NOT NULL,
            mp4_requests INTEGER NOT NULL,
            percent REAL,
            percent_at INTEGER,
            lease_owner TEXT,
            lease_until INTEGER,
            epoch INTEGER
        ) WITHOUT ROWID;
        CREATE INDEX clipbridge_work_due ON clipbridge_work (action, due_at) WHERE lease_owner IS NULL;
        CREATE INDEX clipbridge_work_leased ON clipbridge_work (lease_until) WHERE lease_owner IS NOT NULL;

        CREATE TABLE clipbridge_transfers (
            uid TEXT NOT NULL PRIMARY KEY,
            source_url TEXT NOT NULL,
            source_etag TEXT,
            size INTEGER,
            spool_path TEXT NOT NULL,
            spool_host TEXT NOT NULL,
            is_fetched INTEGER NOT NULL,
            object_key TEXT NOT NULL,
            part_bytes INTEGER,
            upload_id TEXT,
            object_etag TEXT
        ) WITHOUT ROWID;

        CREATE TABLE clipbridge_transfer_parts (
            uid TEXT NOT NULL,
            number INTEGER NOT NULL,
            size INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            md5 TEXT NOT NULL,
            PRIMARY KEY (uid, number)
        ) WITHOUT ROWID;

        INSERT INTO clipbridge_meta VALUES ('change_seq', 0), ('epoch', 0);
        """,
        // 2: what R2 has answered is kept; an MD5 that stands there is what it would have answered.
        "ALTER TABLE clipbridge_transfer_parts RENAME COLUMN md5 TO etag",
        // 3: a request is followed through everything that comes of it.
        """
        ALTER TABLE clipbridge_signals ADD COLUMN trace TEXT;
        ALTER TABLE clipbridge_work ADD COLUMN trace TEXT;
        """,
        // 4: the outbox. A delivery that names no clip has an empty uid.
        """
        CREATE TABLE clipbridge_outbox (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            target TEXT NOT NULL,
            kind TEXT NOT NULL,
            uid TEXT NOT NULL,
            source INTEGER NOT NULL,
            body BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            due_at INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            lease_owner TEXT,
            epoch INTEGER,
            UNIQUE (target, source)
        );
        CREATE INDEX clipbridge_outbox_due ON clipbridge_outbox (target, due_at);
        CREATE INDEX clipbridge_outbox_clip ON clipbridge_outbox (target, uid, id);
        """,
        // 5: the ledger knows a clip's deliveries, and an index of all of them made every delivery dearer.
        """
        DROP INDEX clipbridge_deliveries_uid;
        CREATE INDEX clipbridge_deliveries_apart ON clipbridge_deliveries (uid, id) WHERE outcome <> 'accepted';
        """,
        // 6: triggers on the clips table note rows that the bridge has not met, so that nobody has to look for them.
        "CREATE TABLE clipbridge_arrivals (uid TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID",
        // 7: a delivery's signal stays with it until it is decided, and goes into the ledger then, with what became of
        // it: its place in each of the ledger's indexes is written once, and not while a sender waits. What is
        // undecided all the same has a table of its own.
        """
        ALTER TABLE clipbridge_deliveries ADD COLUMN signal TEXT;
        INSERT INTO clipbridge_meta
            SELECT 'signals_taken', coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'clipbridge_deliveries';
        CREATE TABLE clipbridge_pending (
            seq INTEGER PRIMARY KEY,
            uid TEXT NOT NULL,
            at INTEGER NOT NULL,
            source TEXT NOT NULL,
            kind TEXT NOT NULL,
            requested_status TEXT,
            percent REAL,
            details TEXT NOT NULL,
            delivery INTEGER,
            trace TEXT
        );
        CREATE INDEX clipbridge_pending_uid ON clipbridge_pending (uid);
        INSERT INTO clipbridge_pending
            SELECT seq, uid, at, source, kind, requested_status, percent, details, delivery, trace
            FROM clipbridge_signals WHERE outcome IS NULL;
        DELETE FROM clipbridge_signals WHERE outcome IS NULL;
        DROP INDEX clipbridge_signals_pending;
        DROP INDEX clipbridge_signals_pending_uid;
        CREATE VIEW clipbridge_ledger AS
            SELECT seq, uid, at, source, kind, requested_status, percent, details, delivery, outcome, reason,
                from_status, to_status, trace, epoch, decided_at
            FROM clipbridge_signals
            UNION ALL
            SELECT seq, uid, at, source, kind, requested_status, percent, details, delivery, NULL, NULL,
                NULL, NULL, trace, NULL, NULL
            FROM clipbridge_pending;
        """,
        // 8: the bodies' hashes have an index of their own, which takes them in sorted runs (`RecentBodies`). SQLite
        // drops a UNIQUE only with its table.
        """
        CREATE TABLE clipbridge_deliveries_8 (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            received_at INTEGER NOT NULL,
            signed_at INTEGER NOT NULL,
            signature TEXT NOT NULL,
            body BLOB NOT NULL,
            body_sha256 BLOB NOT NULL,
            uid TEXT,
            outcome TEXT NOT NULL,
            signal TEXT
        );
        INSERT INTO clipbridge_deliveries_8
            SELECT id, received_at, signed_at, signature, body, body_sha256, uid, outcome, signal
            FROM clipbridge_deliveries;
        CREATE TABLE clipbridge_bodies (
            sha256 BLOB NOT NULL PRIMARY KEY,
            delivery INTEGER NOT NULL
        ) WITHOUT ROWID;
        INSERT INTO clipbridge_bodies SELECT body_sha256, id FROM clipbridge_deliveries ORDER BY body_sha256;
        INSERT INTO clipbridge_meta
            SELECT 'bodies_indexed', coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'clipbridge_deliveries';
        DELETE FROM sqlite_sequence WHERE name = 'clipbridge_deliveries_8';
        UPDATE sqlite_sequence SET name = 'clipbridge_deliveries_8' WHERE name = 'clipbridge_deliveries';
        DROP TABLE clipbridge_deliveries;
        ALTER TABLE clipbridge_deliveries_8 RENAME TO clipbridge_deliveries;
        CREATE INDEX clipbridge_deliveries_apart ON clipbridge_deliveries (uid, id) WHERE outcome <> 'accepted';
        CREATE INDEX clipbridge_deliveries_received ON clipbridge_deliveries (received_at);
        CREATE TABLE clipbridge_bodies_recent (last INTEGER NOT NULL, bodies BLOB NOT NULL);
        CREATE TRIGGER clipbridge_deliveries_removed AFTER DELETE ON clipbridge_deliveries
        BEGIN DELETE FROM clipbridge_bodies WHERE sha256 = OLD.body_sha256 AND delivery = OLD.id; END;
        """,
    ]
}

extension String {
    /// For use between double quotes in SQL.
    var replacingQuotes: String { split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") }
}
