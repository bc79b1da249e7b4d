// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore

/// The tables: the application's `clips`, which may have been there before, and the bridge's own.
struct PostgresSchema: Sendable {
    /// The newest version that this program knows.
    static let version = Self.migrations.count
    /// Under it the schema is migrated, whichever replica comes first.
    private static let migrationLock: Int64 = 0x636c_6970_6d69_6772
    static let channel = "clipbridge"

    let table: SQLName
    let uidColumn: SQLName

    /// What the database lets us do on a table that is not ours.
    struct Abilities: Sendable, Equatable {
        /// Other programs' writes are told at once.
        var isNotified = true
        /// Requests are found by an index.
        var isIndexed = true
        /// Written behind our own uid where the table's column is ordered otherwise than the database.
        var collation = ""
        /// Names the schema that our tables are in, among others in the same database.
        var schema = ""
        /// What is missing, and who could mend it, in words.
        var notices: [String] = []
    }

    // MARK: Migration

    /// How long an index on a large table may take.
    private static let limit = Duration.seconds(600)

    func migrate(_ connection: PostgresConnection) throws -> Abilities {
        try connection.withStatementLimit(Self.limit) { try migrateNow(connection) }
    }

    private func migrateNow(_ connection: PostgresConnection) throws -> Abilities {
        _ = try connection.begin("ISOLATION LEVEL READ COMMITTED READ WRITE")
        do {
            // Another replica may be at it, for longer than a lock is waited for otherwise.
            try connection.script("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '10min'")
            try connection.execute("SELECT pg_advisory_xact_lock($1)", [.init(Self.migrationLock)])
            try checkEncoding(connection)
            try createOwnTables(connection)
            try createClipsTable(connection)
            let abilities = try prepare(connection)
            try connection.script("COMMIT")
            return abilities
        } catch {
            if !connection.isLost { connection.rollBack() }
            throw error
        }
    }

    /// What a webhook says may be in any script. `SQL_ASCII` takes all bytes as they are.
    private func checkEncoding(_ connection: PostgresConnection) throws {
        let encoding = try connection.execute("SELECT current_setting('server_encoding') AS name").row?.text("name")
        guard let encoding, !["UTF8", "SQL_ASCII"].contains(encoding) else { return }
        throw StoreError(
            .unsuitableTable,
            "the database's encoding is \(encoding) and has to be UTF8: "
                + "CREATE DATABASE … TEMPLATE template0 ENCODING UTF8")
    }

    private func createOwnTables(_ connection: PostgresConnection) throws {
        do {
            if try !connection.execute("SELECT to_regclass('clipbridge_meta') IS NOT NULL AS found").isTrue("found") {
                try connection.script("CREATE TABLE clipbridge_meta (key text PRIMARY KEY, value bigint NOT NULL)")
            }
            let present = try storedVersion(connection)
            try refuseNewer(present)
            for migration in Self.migrations.dropFirst(present) { try connection.script(migration) }
            guard present < Self.version else { return }
            try connection.execute(
                "INSERT INTO clipbridge_meta VALUES ('schema_version', $1) "
                    + "ON CONFLICT (key) DO UPDATE SET value = excluded.value", [.init(Self.version)])
        } catch let error as PostgresError where error.isMissingRight {
            let role = try Self.role(connection)
            throw StoreError(
                .forbidden,
                "the bridge's own tables can not be made: \(error.message); "
                    + "grant it: GRANT USAGE, CREATE ON SCHEMA … TO \(role), or run clipbridge store migrate as the "
                    + "schema's owner and grant the tables to \(role)")
        }
    }

    /// The role's name, also in a transaction that has failed.
    private static func role(_ connection: PostgresConnection) throws -> String {
        connection.rollBack()
        return try connection.execute("SELECT quote_ident(current_user) AS role").row?.text("role") ?? "the role"
    }

    func checkVersion(_ connection: PostgresConnection, toleratesNewer: Bool) throws {
        guard try connection.execute("SELECT to_regclass('clipbridge_meta') IS NOT NULL AS found").isTrue("found")
        else {
            throw StoreError(.noSchema, "the store has no schema yet: run clipbridge store migrate")
        }
        let present = try storedVersion(connection)
        if !toleratesNewer { try refuseNewer(present) }
        if present < Self.version {
            throw StoreError(
                .unavailable,
                "the store has schema \(present), this program needs \(Self.version): run clipbridge store migrate")
        }
    }

    private func storedVersion(_ connection: PostgresConnection) throws -> Int {
        let row = try connection.execute("SELECT value FROM clipbridge_meta WHERE key = 'schema_version'").row
        return Int(row?.integer("value") ?? 0)
    }

    private func refuseNewer(_ present: Int) throws {
        if present > Self.version {
            throw StoreError(
                .newerSchema,
                "the store has schema \(present), this program knows only \(Self.version): use the newer clipbridge")
        }
    }

    // MARK: The clips table

    private func createClipsTable(_ connection: PostgresConnection) throws {
        guard try !connection.execute("SELECT to_regclass($1) IS NOT NULL AS found", [.text(table.sql)]).isTrue("found")
        else { return }
        try connection.script(
            """
            CREATE TABLE \(table.sql) (
                \(uidColumn.sql) text NOT NULL PRIMARY KEY,
                status text,
                processing_details jsonb
            )
            """)
    }

    /// Looks what the table is like and what may be done with it, and makes index and trigger where that is allowed.
    private func prepare(_ connection: PostgresConnection) throws -> Abilities {
        var abilities = Abilities()
        let uid: String
        (uid, abilities.collation) = try checkColumns(connection)
        try checkRights(connection)
        abilities.schema =
            try connection.execute(
                "SELECT n.nspname AS schema FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                    + "WHERE c.oid = 'clipbridge_meta'::regclass"
            ).row?.text("schema") ?? ""
        // By it the function that forgets removed rows knows the table.
        try connection.execute(
            "INSERT INTO clipbridge_meta VALUES ('clips_table', $1::regclass::oid::bigint) "
                + "ON CONFLICT (key) DO UPDATE SET value = excluded.value "
                + "WHERE clipbridge_meta.value <> excluded.value",
            [.text(table.sql)])
        let isOwner = try connection.execute(
            "SELECT pg_has_role(relowner, 'USAGE') AS yes FROM pg_class WHERE oid = $1::regclass", [.text(table.sql)]
        ).isTrue("yes")
        abilities.isIndexed = try make(
            connection, present: "SELECT to_regclass(\(indexLiteral)) IS NOT NULL AS found", isAllowed: isOwner,
            "CREATE INDEX clipbridge_requested ON \(table.sql) (\(uidColumn.sql)) WHERE \(Self.asksForStatus)",
            lack: "requests of other programs are looked for in the whole table", &abilities)
        let mayTrigger = try connection.execute(
            "SELECT has_table_privilege($1::regclass, 'TRIGGER') AS yes", [.text(table.sql)]
        ).isTrue("yes")
        abilities.isNotified = try make(
            connection,
            present: "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = \(tableLiteral)::regclass "
                + "AND tgname = 'clipbridge_rows_changed' AND tgenabled <> 'D') AS found",
            isAllowed: mayTrigger,
            "CREATE TRIGGER clipbridge_rows_changed AFTER INSERT OR UPDATE OF status, processing_details "
                + "ON \(table.sql) FOR EACH STATEMENT "
                + "EXECUTE FUNCTION clipbridge_rows_changed('\(abilities.schema.replacing("'", with: "''"))')",
            lack: "other programs' rows are looked for every few seconds instead of being told", &abilities)
        let arguments = "'\(abilities.schema.replacing("'", with: "''"))', '\(uid.replacing("'", with: "''"))'"
        _ = try make(
            connection,
            present: "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = \(tableLiteral)::regclass "
                + "AND tgname = 'clipbridge_row_removed' AND tgenabled <> 'D') AS found",
            isAllowed: mayTrigger,
            "CREATE TRIGGER clipbridge_row_removed AFTER DELETE ON \(table.sql) FOR EACH ROW "
                + "EXECUTE FUNCTION clipbridge_rows_removed(\(arguments)); "
                + "CREATE TRIGGER clipbridge_rows_removed AFTER TRUNCATE ON \(table.sql) FOR EACH STATEMENT "
                + "EXECUTE FUNCTION clipbridge_rows_removed(\(arguments))",
            lack: "rows that are removed and inserted again are not picked up anew", &abilities)
        return abilities
    }

    private var tableLiteral: String { "'\(table.sql.replacing("'", with: "''"))'" }

    /// The index' name in the schema of its table.
    private var indexLiteral: String {
        "(SELECT quote_ident(n.nspname) || '.clipbridge_requested' FROM pg_class c "
            + "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = \(tableLiteral)::regclass)"
    }

    /// - Returns: whether it is there now.
    private func make(
        _ connection: PostgresConnection, present: String, isAllowed: Bool, _ sql: String, lack: String,
        _ abilities: inout Abilities
    ) throws -> Bool {
        if try connection.script(present).isTrue("found") { return true }
        if isAllowed {
            try connection.script("SAVEPOINT making; SET LOCAL lock_timeout = '5s'")
            do throws(PostgresError) {
                try connection.script(sql)
                try connection.script("RELEASE SAVEPOINT making")
                return true
            } catch {
                if error.isConnectionLost { throw error }
                try connection.script("ROLLBACK TO SAVEPOINT making")
                abilities.notices.append("\(lack), because of: \(error.message); it can be made by hand: \(sql)")
                return false
            }
        }
        abilities.notices.append("\(lack), because the table \(table.sql) is not ours; its owner can run: \(sql)")
        return false
    }

    /// - Returns: the uid column's name as the catalogue has it, and how our own uids are to be compared with it.
    private func checkColumns(_ connection: PostgresConnection) throws -> (name: String, collation: String) {
        let columns = try connection.execute(
            """
            SELECT a.attname AS name, t.typcategory AS category, format_type(a.atttypid, NULL) AS type,
                a.attgenerated <> '' AS is_generated,
                CASE WHEN a.attcollation <> t.typcollation AND t.typcollation <> 0
                    THEN (SELECT quote_ident(n.nspname) || '.' || quote_ident(l.collname)
                        FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = a.attcollation)
                END AS collation,
                EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid
                    AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) AS is_unique
            FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
                AND a.attname IN ((parse_ident($2))[1], 'status', 'processing_details')
            """, [.text(table.sql), .text(uidColumn.sql)]
        ).rows
        let uidName = try connection.execute("SELECT (parse_ident($1))[1] AS name", [.text(uidColumn.sql)]).row?
            .text("name")
        func column(_ name: String?) throws -> PostgresRow {
            guard let row = columns.first(where: { $0.text("name") == name }) else {
                throw StoreError(.unsuitableTable, "the table \(table.sql) has no column \"\(name ?? uidColumn.sql)\"")
            }
            if row.bool("is_generated") {
                throw StoreError(
                    .unsuitableTable,
                    "the column \"\(row.text("name") ?? "")\" of the table \(table.sql) is generated, and the bridge "
                        + "has to write it")
            }
            return row
        }
        let uid = try column(uidName)
        let details = try column("processing_details")
        guard uid.text("category") == "S" else { throw wrongType(uid, "text") }
        let status = try column("status")
        // An enumeration of words is text too, as far as it has ours.
        guard ["S", "E"].contains(status.text("category")) else { throw wrongType(status, "text") }
        guard details.text("type") == "jsonb" else { throw wrongType(details, "jsonb") }
        guard uid.bool("is_unique") else {
            throw StoreError(
                .unsuitableTable,
                "the column \(uidColumn.sql) of the table \(table.sql) must be unique: "
                    + "CREATE UNIQUE INDEX ON \(table.sql) (\(uidColumn.sql))")
        }
        return (uidName ?? "", uid.text("collation").map { " COLLATE \($0)" } ?? "")
    }

    private func wrongType(_ row: PostgresRow, _ wanted: String) -> StoreError {
        StoreError(
            .unsuitableTable,
            "the column \"\(row.text("name") ?? "")\" of the table \(table.sql) is of type \(row.text("type") ?? "?") "
                + "and has to be \(wanted)")
    }

    private func checkRights(_ connection: PostgresConnection) throws {
        let found = try connection.execute(
            """
            SELECT quote_ident(current_user) AS role,
                has_table_privilege($1::regclass, 'SELECT') AS reads,
                has_column_privilege($1::regclass, 'status', 'UPDATE')
                    AND has_column_privilege($1::regclass, 'processing_details', 'UPDATE') AS updates,
                row_security_active($1::regclass) AND NOT EXISTS (
                    SELECT FROM pg_policy p WHERE p.polrelid = $1::regclass AND p.polpermissive AND p.polcmd = '*'
                    AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                    AND (p.polroles = '{0}' OR EXISTS (
                        SELECT FROM unnest(p.polroles) r WHERE r <> 0 AND pg_has_role(r, 'USAGE')))
                ) AS is_hidden
            """, [.text(table.sql)])
        guard let row = found.row else { return }
        let role = row.text("role") ?? ""
        if !row.bool("reads") {
            throw StoreError(
                .forbidden,
                "the role \(role) may not read the table \(table.sql): GRANT SELECT ON \(table.sql) TO \(role)")
        }
        if !row.bool("updates") {
            throw StoreError(
                .forbidden,
                "the role \(role) may not write the columns status and processing_details of the table \(table.sql): "
                    + "GRANT UPDATE (status, processing_details) ON \(table.sql) TO \(role)")
        }
        if row.bool("is_hidden") {
            throw StoreError(
                .forbidden,
                "row-level security hides rows of the table \(table.sql) from the role \(role): "
                    + "CREATE POLICY clipbridge ON \(table.sql) TO \(role) USING (true) WITH CHECK (true)")
        }
    }

    /// True where another program asks for a status.
    static let asksForStatus = "processing_details ? 'requested_status'"

    // MARK: Migrations

    /// Forward only; each brings the schema from its index to the next number. They only add, so that a program of the
    /// version before can go on beside them. Times are milliseconds since 1970, as everywhere in the project.
    private static let migrations = [
        """
        CREATE SEQUENCE clipbridge_change_seq;
        CREATE SEQUENCE clipbridge_epoch;

        CREATE TABLE clipbridge_clips (
            uid text PRIMARY KEY,
            status text NOT NULL,
            failed_from text,
            progress double precision NOT NULL,
            created_at bigint NOT NULL,
            updated_at bigint NOT NULL,
            change_seq bigint
        );
        CREATE UNIQUE INDEX clipbridge_clips_change ON clipbridge_clips (change_seq);
        CREATE INDEX clipbridge_clips_status ON clipbridge_clips (status, change_seq);

        CREATE TABLE clipbridge_deliveries (
            id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
            received_at bigint NOT NULL,
            signed_at bigint NOT NULL,
            signature text NOT NULL,
            body bytea NOT NULL,
            body_sha256 bytea NOT NULL UNIQUE,
            uid text,
            outcome text NOT NULL
        );
        CREATE INDEX clipbridge_deliveries_uid ON clipbridge_deliveries (uid, id);
        CREATE INDEX clipbridge_deliveries_received ON clipbridge_deliveries (received_at);

        -- Details are text: jsonb has no place for a zero character, which a webhook may hold.
        CREATE TABLE clipbridge_signals (
            seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
            uid text NOT NULL,
            at bigint NOT NULL,
            source text NOT NULL,
            kind text NOT NULL,
            requested_status text,
            percent double precision,
            details text NOT NULL,
            delivery bigint,
            outcome text,
            reason text,
            from_status text,
            to_status text,
            epoch bigint,
            decided_at bigint
        );
        CREATE INDEX clipbridge_signals_uid ON clipbridge_signals (uid, seq);
        CREATE INDEX clipbridge_signals_pending ON clipbridge_signals (seq) WHERE outcome IS NULL;
        CREATE INDEX clipbridge_signals_pending_uid ON clipbridge_signals (uid, seq) WHERE outcome IS NULL;

        CREATE TABLE clipbridge_work (
            uid text PRIMARY KEY,
            action text NOT NULL,
            due_at bigint NOT NULL,
            attempt integer NOT NULL,
            polls integer NOT NULL,
            crashes integer NOT NULL,
            first_failed_at bigint,
            stage_entered_at bigint NOT NULL,
            mp4_requests integer NOT NULL,
            percent double precision,
            percent_at bigint,
            lease_owner text,
            lease_until bigint,
            epoch bigint
        );
        CREATE INDEX clipbridge_work_due ON clipbridge_work (action, due_at) WHERE lease_owner IS NULL;
        CREATE INDEX clipbridge_work_leased ON clipbridge_work (lease_until) WHERE lease_owner IS NOT NULL;

        CREATE TABLE clipbridge_transfers (
            uid text PRIMARY KEY,
            source_url text NOT NULL,
            source_etag text,
            size bigint,
            spool_path text NOT NULL,
            spool_host text NOT NULL,
            is_fetched boolean NOT NULL,
            object_key text NOT NULL,
            part_bytes bigint,
            upload_id text,
            object_etag text
        );
        CREATE TABLE clipbridge_transfer_parts (
            uid text NOT NULL,
            number integer NOT NULL,
            size bigint NOT NULL,
            sha256 text NOT NULL,
            etag text NOT NULL,
            PRIMARY KEY (uid, number)
        );

        -- What replicas keep together, such as what Cloudflare's request limit leaves to them.
        CREATE TABLE clipbridge_texts (name text PRIMARY KEY, body text NOT NULL);

        -- A JSON merge patch (RFC 7396).
        CREATE FUNCTION clipbridge_merge_patch(target jsonb, patch jsonb) RETURNS jsonb
        LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
        DECLARE
            merged jsonb := CASE WHEN jsonb_typeof(target) = 'object' THEN target ELSE '{}' END;
            name text;
            member jsonb;
        BEGIN
            FOR name, member IN SELECT * FROM jsonb_each(patch) LOOP
                merged := CASE jsonb_typeof(member)
                    WHEN 'null' THEN merged - name
                    WHEN 'object' THEN
                        merged || jsonb_build_object(name, clipbridge_merge_patch(merged -> name, member))
                    ELSE merged || jsonb_build_object(name, member)
                END;
            END LOOP;
            RETURN merged;
        END $$;

        -- Numbers the clips that a transaction has changed, as the last thing before it is committed: whoever has seen
        -- one number has seen all the smaller ones.
        CREATE FUNCTION clipbridge_number_changes(uids text[]) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock(
                hashtextextended('number changes', 'clipbridge_meta'::regclass::oid::bigint));
            UPDATE clipbridge_clips SET change_seq = nextval('clipbridge_change_seq') WHERE uid = ANY (uids);
        END $$;

        -- Tells when another program has written to the clips table.
        CREATE FUNCTION clipbridge_rows_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_setting('clipbridge.writer', true) IS DISTINCT FROM '1' THEN
                PERFORM pg_notify('clipbridge', TG_ARGV[0] || ' rows');
            END IF;
            RETURN NULL;
        END $$;
        """,
        // 2: a request is followed through everything that comes of it.
        """
        ALTER TABLE clipbridge_signals ADD COLUMN trace text;
        ALTER TABLE clipbridge_work ADD COLUMN trace text;
        """,
        // 3: the outbox. A delivery that names no clip has an empty uid.
        """
        CREATE TABLE clipbridge_outbox (
            id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
            target text NOT NULL,
            kind text NOT NULL,
            uid text NOT NULL,
            source bigint NOT NULL,
            body bytea NOT NULL,
            created_at bigint NOT NULL,
            due_at bigint NOT NULL,
            attempt integer NOT NULL,
            lease_owner text,
            epoch bigint,
            UNIQUE (target, source)
        );
        CREATE INDEX clipbridge_outbox_due ON clipbridge_outbox (target, due_at);
        CREATE INDEX clipbridge_outbox_clip ON clipbridge_outbox (target, uid, id);
        """,
        // 4: a row that is removed is forgotten, so that it is met anew if it comes back. Whoever removes it has no
        // rights on our tables, so it is done with ours, and for the clips table alone: anybody may put the function
        // on a table of his own.
        """
        CREATE FUNCTION clipbridge_rows_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            clips_table bigint;
            gone text;
        BEGIN
            EXECUTE format('SELECT value FROM %I.clipbridge_meta WHERE key = ''clips_table''', TG_ARGV[0])
                INTO clips_table;
            IF clips_table IS DISTINCT FROM coalesce(pg_partition_root(TG_RELID), TG_RELID)::oid::bigint THEN
                RETURN NULL;
            ELSIF TG_OP = 'TRUNCATE' THEN
                EXECUTE format('DELETE FROM %I.clipbridge_clips', TG_ARGV[0]);
            ELSE
                EXECUTE format('SELECT ($1).%I::text', TG_ARGV[1]) USING OLD INTO gone;
                EXECUTE format('DELETE FROM %I.clipbridge_clips WHERE uid = $1', TG_ARGV[0]) USING gone;
            END IF;
            RETURN NULL;
        END $$;
        """,
    ]
}

extension PostgresResult {
    func isTrue(_ column: String) -> Bool { row?.bool(column) ?? false }
}
