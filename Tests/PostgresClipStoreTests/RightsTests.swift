// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import Logging
import PostgresClipStore
import Testing

/// A role that may not do everything on the application's table.
@Suite struct RightsTests {
    private static let table = """
        CREATE TABLE clips (cloudflare_uid text UNIQUE, status text, processing_details jsonb, title text);
        INSERT INTO clips VALUES ('one', 'queued', '{}', 'First');
        """

    /// A table of the administrator's, and a role with these grants on it, which has a schema for its own tables.
    private func withRole(
        _ grants: String, _ body: (PostgresClipStore, TestDatabase, _ role: String) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            let role = "r\(database.name)"
            try await database.execute(
                """
                \(Self.table)
                CREATE ROLE \(role) LOGIN;
                GRANT USAGE, CREATE ON SCHEMA \(database.name) TO \(role);
                \(grants.replacing("ROLE", with: role))
                """)
            let result = await Result {
                let store = try database.store(url: database.url.replacing("clipbridge@", with: "\(role)@"))
                try await body(store, database, role)
                try await store.close()
            }
            try await database.execute("DROP OWNED BY \(role) CASCADE; DROP ROLE \(role)")
            try result.get()
        }
    }

    private let script = LedgerScript(policy: LifecyclePolicy(), now: Timestamp(seconds: 1_800_000_000))

    @Test(arguments: [
        ("GRANT INSERT ON clips TO ROLE;", "GRANT SELECT ON"),
        ("GRANT SELECT, INSERT ON clips TO ROLE;", "GRANT UPDATE (status, processing_details)"),
        ("GRANT SELECT, UPDATE (status) ON clips TO ROLE;", "GRANT UPDATE (status, processing_details)"),
        (
            "GRANT ALL ON clips TO ROLE; ALTER TABLE clips ENABLE ROW LEVEL SECURITY;",
            "row-level security hides rows"
        ),
        (
            """
            GRANT ALL ON clips TO ROLE; ALTER TABLE clips ENABLE ROW LEVEL SECURITY;
            CREATE POLICY partial ON clips TO ROLE USING (title = 'First');
            """, "row-level security hides rows"
        ),
        ("GRANT ALL ON clips TO ROLE; REVOKE CREATE ON SCHEMA OWN_SCHEMA FROM ROLE;", "CREATE ON SCHEMA"),
    ])
    func missingRightIsNamed(_ grants: String, words: String) async throws {
        try await TestDatabase.with { database in
            let role = "r\(database.name)"
            let own = grants.replacing("OWN_SCHEMA", with: database.name).replacing("ROLE", with: role)
            try await database.execute(
                """
                \(Self.table)
                CREATE ROLE \(role) LOGIN;
                GRANT USAGE, CREATE ON SCHEMA \(database.name) TO \(role);
                \(own)
                """)
            let store = try database.store(url: database.url.replacing("clipbridge@", with: "\(role)@"))
            let error = await #expect(throws: StoreError.self) { try await store.migrate() }
            #expect(error?.code == .forbidden)
            #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
            #expect(error?.message.contains(role) == true, "\(error?.message ?? "")")
            try await store.close()
            try await database.execute("DROP OWNED BY \(role) CASCADE; DROP ROLE \(role)")
        }
    }

    @Test func policyThatShowsEveryRowServes() async throws {
        try await withRole(
            """
            GRANT SELECT, INSERT, UPDATE ON clips TO ROLE; ALTER TABLE clips ENABLE ROW LEVEL SECURITY;
            CREATE POLICY clipbridge ON clips TO ROLE USING (true) WITH CHECK (true);
            """
        ) { store, _, _ in
            try await store.migrate()
            let script = script
            #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 1)
        }
    }

    /// Neither index nor trigger may be made: rows and requests are found all the same.
    @Test func tableOfSomebodyElseIsPolled() async throws {
        try await withRole("GRANT SELECT, UPDATE (status, processing_details) ON clips TO ROLE;") {
            store, database, _ in
            try await store.migrate()
            let objects = try await database.column(
                "SELECT indexname::text AS x FROM pg_indexes WHERE schemaname = '\(database.name)' "
                    + "AND indexname = 'clipbridge_requested' UNION ALL "
                    + "SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'clips'::regclass")
            #expect(objects == [])
            let script = script
            #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 1)
            try await database.execute("UPDATE clips SET processing_details = '{\"requested_status\": \"complete\"}'")
            let lifted = try await store.write { try script.liftRequests(limit: 10, in: $0) }
            #expect(lifted.map(\.to) == [.complete])
            // A row may not be inserted: the signal stays in the ledger, and the transaction lives.
            let refused = try await store.write {
                try script.submit(
                    Signal(uid: ClipUID("new")!, source: .operator, status: .queued), registers: true, in: $0)
            }
            #expect(refused.entry.reason == .unknownClip)
            #expect(try await database.column("SELECT title AS x FROM clips") == ["First"])
        }
    }
    /// The table's owner may not write into our tables, and needs not: a row that he removes is forgotten, but not what
    /// he removes from another table.
    @Test func ownerCanHaveRemovedRowsForgotten() async throws {
        try await withRole("GRANT SELECT, UPDATE (status, processing_details) ON clips TO ROLE;") {
            store, database, role in
            let owner = "o\(role)"
            try await database.execute(
                """
                CREATE ROLE \(owner); GRANT USAGE, CREATE ON SCHEMA \(database.name) TO \(owner);
                ALTER TABLE clips OWNER TO \(owner);
                """)
            let result = await Result {
                try await store.migrate()
                let script = script
                #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 1)
                let (trigger, again) = (
                    "FOR EACH ROW EXECUTE FUNCTION clipbridge_rows_removed('\(database.name)', 'cloudflare_uid')",
                    "INSERT INTO clips VALUES ('one', 'uploading')"
                )
                try await database.execute(
                    """
                    SET ROLE \(owner);
                    CREATE TABLE decoy (cloudflare_uid text); INSERT INTO decoy VALUES ('one');
                    CREATE TRIGGER removed AFTER DELETE ON decoy \(trigger);
                    DELETE FROM decoy; DELETE FROM clips; \(again);
                    """)
                #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 0)
                try await database.execute(
                    """
                    SET ROLE \(owner);
                    CREATE TRIGGER clipbridge_row_removed AFTER DELETE ON clips \(trigger);
                    DELETE FROM clips; \(again);
                    """)
                #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 1)
            }
            try await database.execute("DROP OWNED BY \(owner) CASCADE; DROP ROLE \(owner)")
            try result.get()
        }
    }
}
