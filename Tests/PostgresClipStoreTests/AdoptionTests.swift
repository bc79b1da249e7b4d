// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import PostgresClipStore
import Testing

/// A table that an application had before, with its own columns, names and rows.
@Suite struct AdoptionTests {
    private static let table = "\"My Shop\".\"My Clips\""

    private func withApplication(_ body: (PostgresClipStore, TestDatabase) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            // A schema beside ours, with quotes in every name.
            let shop = "\"Shop \(database.name)\""
            try await database.execute(
                """
                CREATE SCHEMA \(shop);
                CREATE TABLE \(shop)."My Clips" (
                    id serial PRIMARY KEY, "Video UID" varchar(64) UNIQUE, title text NOT NULL DEFAULT 'untitled',
                    status text, processing_details jsonb, price numeric(10, 2), stamp timestamptz DEFAULT now()
                );
                INSERT INTO \(shop)."My Clips" ("Video UID", title, status, processing_details) VALUES
                    ('one', 'First', 'queued', '{"mine": {"x": 1}}'),
                    ('two', 'Second', NULL, NULL),
                    ('three', 'Third', 'their own word', '[1]'),
                    ('four', 'Fourth', 'error', '{"error_message": "theirs"}'),
                    ('not a uid', 'Fifth', 'queued', NULL)
                """)
            let result = await Result {
                let store = try database.store(table: "\(shop).\"My Clips\"", column: "\"Video UID\"")
                try await store.migrate()
                try await body(store, TestDatabase(name: "\(shop).\"My Clips\"", url: database.url))
                try await store.close()
            }
            try await database.execute("DROP SCHEMA \(shop) CASCADE")
            try result.get()
        }
    }

    private let script = LedgerScript(policy: LifecyclePolicy(), now: Timestamp(seconds: 1_800_000_000))
    private let one = ClipUID("one")!  // A valid uid, as any test shows.

    @Test func rowsAreAdoptedAtTheirStatusAndOthersLeftAlone() async throws {
        try await withApplication { store, application in
            let foreign =
                "SELECT md5(string_agg(t::text, ',' ORDER BY id)) AS x FROM "
                + "(SELECT id, title, price, stamp FROM \(application.name)) t"
            let before = try await application.column(foreign)
            let script = script
            #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 2)
            #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 0)
            #expect(try await store.read { try $0.foreignRowCount() } == 3)
            let clip = try await store.read { [one] in try $0.clip(one) }
            #expect(clip?.status == .queued)
            #expect(clip?.details["mine"] == ["x": 1])
            #expect(clip?.work?.action == .checkVideo)
            let four = try await store.read { try $0.clip(ClipUID("four")!) }
            #expect(four?.details[.errorMessage] == "theirs")
            #expect(try await application.column(foreign) == before)
            #expect(
                try await application.column("SELECT status AS x FROM \(application.name) ORDER BY id")
                    == ["queued", nil, "their own word", "error", "queued"])
            #expect(try await LedgerVerification.run(on: store).differences == [])
        }
    }

    @Test func signalForARowOfForeignStatusLeavesItAlone() async throws {
        try await withApplication { store, application in
            let script = script
            let decisions = try await store.write {
                try script.submit(Signal(uid: ClipUID("three")!, source: .operator, status: .complete), in: $0)
            }
            #expect(decisions.entry.reason == .unknownStatus)
            let details = try await application.column(
                "SELECT processing_details::text AS x FROM \(application.name) WHERE id = 3")
            #expect(details == ["[1]"])
        }
    }

    @Test func requestedStatusIsLiftedAndRemoved() async throws {
        try await withApplication { store, application in
            let script = script
            try await application.execute(
                """
                UPDATE \(application.name) SET processing_details =
                    '{"mine": 1, "requested_status": "stream_ready", "status_request_time": "2026-01-01T00:00:00Z"}'
                    WHERE "Video UID" = 'one';
                UPDATE \(application.name) SET processing_details = '{"requested_status": "banana"}'
                    WHERE "Video UID" = 'four';
                UPDATE \(application.name) SET processing_details = '{"requested_status": 7}'
                    WHERE "Video UID" = 'two';
                UPDATE \(application.name) SET processing_details = '{"requested_status": "complete"}'
                    WHERE "Video UID" = 'not a uid'
                """)
            let entries = try await store.write { try script.liftRequests(limit: 10, in: $0) }
            #expect(Set(entries.map(\.outcome)) == [.applied, .rejected])
            #expect(entries.allSatisfy { $0.signal.source == .external })
            let clip = try await store.read { [one] in try $0.clip(one) }
            #expect(clip?.status == .streamReady)
            #expect(clip?.details["mine"] == 1)
            #expect(clip?.details[DetailKey.requestedStatus] == nil)
            #expect(clip?.details[DetailKey.statusRequestTime] == nil)
            // What no clip can ask for is removed in a turn of its own.
            #expect(try await store.write { try script.liftRequests(limit: 10, in: $0) } == [])
            let left = try await application.column(
                "SELECT count(*)::text AS x FROM \(application.name) WHERE processing_details ? 'requested_status'")
            #expect(left == ["0"])
        }
    }

    @Test func requestIsFoundByItsIndex() async throws {
        try await withApplication { _, application in
            let plan = try await application.column(
                "SELECT indexdef AS x FROM pg_indexes WHERE indexname = 'clipbridge_requested' "
                    + "AND '\"' || schemaname || '\".\"' || tablename || '\"' = '\(application.name)'")
            #expect(plan.first??.contains("? 'requested_status'") == true)
        }
    }

    @Test func otherProgramsWritesAreToldAndOursAreNot() async throws {
        try await withApplication { store, application in
            let said = Said()
            let watching = Task { await store.watch { said.say("changed") } }
            await eventually { !said.words.isEmpty }
            // What came before anybody listened is looked for once.
            #expect(try await store.foreignWritesSinceLastCall())
            #expect(try await !store.foreignWritesSinceLastCall())
            let script = script
            _ = try await store.write { try script.adopt(limit: 10, in: $0).count }
            #expect(try await !store.foreignWritesSinceLastCall())
            try await application.execute("UPDATE \(application.name) SET status = 'queued' WHERE id = 2")
            try await eventually { try await store.foreignWritesSinceLastCall() }
            watching.cancel()
            await watching.value
        }
    }

    @Test func columnWithoutDefaultForbidsCreationAndNothingElse() async throws {
        try await TestDatabase.with { database in
            try await database.execute(
                "CREATE TABLE clips (cloudflare_uid text UNIQUE, status text, processing_details jsonb, "
                    + "owner text NOT NULL)")
            let store = try database.store()
            try await store.migrate()
            let script = script
            let said = Said()
            let telling = LedgerScript(policy: LifecyclePolicy(), now: script.now) { said.say("\($0): \($1)") }
            let entries = try await store.write { transaction in
                try ["new", "newer"].map { word in
                    try telling.submit(
                        Signal(uid: ClipUID(word)!, source: .operator, status: .queued), registers: true,
                        in: transaction)
                }
            }
            #expect(entries.map(\.entry.reason) == [.unknownClip, .unknownClip])
            #expect(said.words.contains { $0.contains("owner") })
            #expect(try await store.read { try $0.history(of: ClipUID("new")!).count } == 1)
            try await store.close()
        }
    }

    @Test func checkConstraintThatDoesNotKnowAStatusRefusesIt() async throws {
        try await TestDatabase.with { database in
            try await database.execute(
                "CREATE TABLE clips (cloudflare_uid text UNIQUE, processing_details jsonb, "
                    + "status text CHECK (status IN ('uploading', 'queued', 'complete')))")
            let store = try database.store()
            try await store.migrate()
            let script = script
            let one = one
            let entries = try await store.write { transaction in
                try [ClipStatus.queued, .processing, .complete].map {
                    try script.submit(Signal(uid: one, source: .operator, status: $0), registers: true, in: transaction)
                }
            }
            #expect(entries.map(\.entry.outcome) == [.applied, .rejected, .applied])
            #expect(entries[1].entry.reason == .unknownStatus)
            try await store.close()
        }
    }

    @Test(arguments: [
        ("CREATE TABLE clips (cloudflare_uid text UNIQUE, status text)", "processing_details"),
        ("CREATE TABLE clips (cloudflare_uid text, status text, processing_details jsonb)", "unique"),
        ("CREATE TABLE clips (cloudflare_uid text UNIQUE, status text, processing_details text)", "jsonb"),
        ("CREATE TABLE clips (cloudflare_uid bigint UNIQUE, status text, processing_details jsonb)", "bigint"),
        (
            "CREATE TABLE clips (cloudflare_uid text, status text, processing_details jsonb); "
                + "CREATE UNIQUE INDEX ON clips (cloudflare_uid) WHERE status IS NOT NULL", "unique"
        ),
    ])
    func unsuitableTableIsRefusedWithWords(_ sql: String, word: String) async throws {
        try await TestDatabase.with { database in
            try await database.execute(sql)
            let store = try database.store()
            let error = await #expect(throws: StoreError.self) { try await store.migrate() }
            #expect(error?.code == .unsuitableTable)
            #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
            try await store.close()
        }
    }

    @Test func columnOfAnotherCollationIsReadByItsIndex() async throws {
        try await TestDatabase.with { database in
            try await database.execute(
                "CREATE TABLE clips (cloudflare_uid text COLLATE \"POSIX\" UNIQUE, status text, "
                    + "processing_details jsonb); INSERT INTO clips VALUES ('one', 'queued')")
            let store = try database.store()
            try await store.migrate()
            let script = script
            #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 1)
            #expect(try await store.read { try $0.clips(status: .queued, before: nil, limit: 9).count } == 1)
            try await store.close()
        }
    }

    @Test func zeroCharacterInDetailsDoesNotStopAClip() async throws {
        try await TestDatabase.with { database in
            let store = try database.store()
            try await store.migrate()
            let script = script
            let one = one
            let decisions = try await store.write {
                try script.submit(
                    Signal(uid: one, source: .operator, status: .queued, details: ["odd": "a\u{0}b"]),
                    registers: true, in: $0)
            }
            #expect(decisions.entry.outcome == .applied)
            #expect(try await store.read { try $0.clip(one)?.details["odd"] } == "a\u{fffd}b")
            #expect(try await store.read { try $0.entry(decisions.entry.seq)?.signal.details["odd"] } == "a\u{0}b")
            try await store.close()
        }
    }

    /// A row that a transaction of the application holds keeps nobody else waiting.
    @Test func heldRowIsPassedOver() async throws {
        try await withApplication { store, application in
            let script = script
            #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 2)
            for (number, uid) in ["one", "four", "new"].enumerated() {
                let uid = ClipUID(uid)!
                let body = Array("body \(number)".utf8)
                _ = try await store.record(
                    NewDelivery(
                        receivedAt: script.now, signedAt: script.now, signatureHeader: "h", body: body,
                        bodySHA256: body, uid: uid, outcome: .accepted,
                        signal: Signal(uid: uid, source: .webhook, status: .streamReady)))
            }
            try await application.whileHolding("SELECT 1 FROM \(application.name) WHERE id = 1 FOR UPDATE") {
                let start = ContinuousClock.now
                let decided = try await store.write { try script.applyPending(limit: 10, in: $0) }
                #expect(Set(decided.map(\.signal.uid.rawValue)) == ["four", "new"])
                #expect(ContinuousClock.now - start < .seconds(5))
            }
            let late = try await store.write { try script.applyPending(limit: 10, in: $0) }
            #expect(late.map(\.to) == [.streamReady])
        }
    }

    /// Nor does one that it has inserted and not committed, under the uid of a webhook's clip.
    @Test func rowThatIsNotCommittedIsPassedOver() async throws {
        try await withApplication { store, application in
            let script = script
            for (number, uid) in ["new", "new", "other"].enumerated() {
                try await deliver(uid, body: "body \(number)", to: store)
            }
            try await application.whileHolding(
                "INSERT INTO \(application.name) (\"Video UID\", status) VALUES ('new', 'queued')"
            ) {
                let decided = try await store.write { try script.applyPending(limit: 10, in: $0) }
                #expect(decided.map(\.signal.uid.rawValue) == ["other"])
                await #expect(throws: StoreError.self) {
                    try await store.write {
                        try script.submit(
                            Signal(uid: ClipUID("new")!, source: .operator, status: .queued), registers: true, in: $0)
                    }
                }
            }
            let late = try await store.write { try script.applyPending(limit: 10, in: $0) }
            #expect(late.map(\.outcome) == [.applied, .merged])
        }
    }

    private func deliver(_ uid: String, body: String, to store: PostgresClipStore) async throws {
        let (uid, body) = (try #require(ClipUID(uid)), Array(body.utf8))
        _ = try await store.record(
            NewDelivery(
                receivedAt: script.now, signedAt: script.now, signatureHeader: "h", body: body, bodySHA256: body,
                uid: uid, outcome: .accepted, signal: Signal(uid: uid, source: .webhook, status: .streamReady)))
    }

    /// A trigger that looks for what is not there refuses its own row and no other.
    @Test func triggerThatFailsConcernsItsRowAlone() async throws {
        try await TestDatabase.with { database in
            try await database.execute(
                """
                CREATE TABLE clips (cloudflare_uid text UNIQUE, status text, processing_details jsonb);
                CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    INSERT INTO missing VALUES (1);
                    RETURN NEW;
                END $$;
                CREATE TRIGGER broken BEFORE INSERT ON clips FOR EACH ROW WHEN (NEW.cloudflare_uid = 'bad')
                    EXECUTE FUNCTION broken();
                """)
            let store = try database.store()
            try await store.migrate()
            let script = script
            for uid in ["bad", "good"] { try await deliver(uid, body: uid, to: store) }
            let decided = try await store.write { try script.applyPending(limit: 10, in: $0) }
            #expect(decided.map(\.signal.uid.rawValue) == ["bad", "good"])
            #expect(decided.map(\.reason) == [.unknownClip, nil])
            try await store.close()
        }
    }

    @Test(arguments: ["DELETE FROM clips", "TRUNCATE clips"])
    func removedRowIsMetAnew(removal: String) async throws {
        try await TestDatabase.with { database in
            let store = try database.store()
            try await store.migrate()
            let script = script
            for status in ["complete", "uploading"] {
                try await database.execute("INSERT INTO clips VALUES ('one', '\(status)')")
                #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 1)
                let work = try await store.read { try $0.work(of: one) }
                #expect(work?.action == (status == "uploading" ? .checkVideo : nil))
                try await database.execute(removal)
            }
            try await store.close()
        }
    }

    @Test(arguments: ["cloudflare_uid", "status", "processing_details"])
    func generatedColumnIsRefused(column: String) async throws {
        try await TestDatabase.with { database in
            let columns = ["cloudflare_uid": "text UNIQUE", "status": "text", "processing_details": "jsonb"]
                .sorted { $0.key < $1.key }
                .map { name, type in
                    let kind = type.split(separator: " ")[0]
                    let generated = "GENERATED ALWAYS AS ((other->>'x')::\(kind)) STORED"
                    return "\(name) \(type) \(name == column ? generated : "")"
                }
            try await database.execute("CREATE TABLE clips (\(columns.joined(separator: ", ")), other jsonb)")
            let store = try database.store()
            let error = await #expect(throws: StoreError.self) { try await store.migrate() }
            #expect(error?.code == .unsuitableTable)
            #expect(error?.message.contains("generated") == true)
            try await store.close()
        }
    }

    @Test func databaseThatDoesNotTakeEveryTextIsRefused() async throws {
        try await TestDatabase.with { database in
            let name = "latin_\(database.name)"
            try await database.execute(
                alone: "CREATE DATABASE \(name) TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'")
            let result = await Result {
                var url = try #require(URLComponents(string: TestDatabase.server()))
                url.path = "/\(name)"
                let store = try database.store(url: url.string)
                let error = await #expect(throws: StoreError.self) { try await store.migrate() }
                #expect(error?.code == .unsuitableTable)
                #expect(error?.message.contains("LATIN1") == true)
                try await store.close()
            }
            try await database.execute(alone: "DROP DATABASE \(name)")
            try result.get()
        }
    }

    /// A check that comes only with the commit, and a request that can not be removed, concern their rows alone.
    @Test func rowThatIsRefusedInTheEndStopsNobody() async throws {
        try await TestDatabase.with { database in
            try await database.execute(
                """
                CREATE TABLE clips (cloudflare_uid text UNIQUE, status text, processing_details jsonb);
                CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF NEW.cloudflare_uid = 'bad' THEN RAISE 'not this one' USING ERRCODE = 'AB001'; END IF;
                    RETURN NULL;
                END $$;
                INSERT INTO clips VALUES ('bad', 'queued', '{"requested_status": "complete"}'),
                    ('good', 'queued', '{"requested_status": "complete"}'), ('odd', 'queued', '"requested_status"');
                CREATE CONSTRAINT TRIGGER guard AFTER UPDATE ON clips DEFERRABLE INITIALLY DEFERRED
                    FOR EACH ROW EXECUTE FUNCTION guard();
                """)
            let store = try database.store()
            try await store.migrate()
            let script = script
            #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 2)
            let lifted = try await store.write { try script.liftRequests(limit: 10, in: $0) }
            #expect(lifted.map(\.signal.uid.rawValue) == ["good"])
            #expect(lifted.map(\.to) == [.complete])
            try await store.close()
        }
    }

    /// Which an array's text would take for SQL's null.
    @Test func uidNullIsAUIDLikeAnyOther() async throws {
        try await TestDatabase.with { database in
            let store = try database.store()
            try await store.migrate()
            let script = script
            let null = ClipUID("null")!
            let decisions = try await store.write {
                try script.submit(
                    Signal(uid: null, source: .operator, status: .queued), registers: true, in: $0)
            }
            #expect(decisions.entry.outcome == .applied)
            #expect(try await store.read { try $0.clips(status: nil, before: nil, limit: 9).map(\.uid) } == [null])
            let claimed = try await store.write {
                try script.claim([.checkVideo], owner: "one", lease: .seconds(15), limit: 1, in: $0)
            }
            #expect(claimed.map(\.uid) == [null])
            try await store.close()
        }
    }
}
