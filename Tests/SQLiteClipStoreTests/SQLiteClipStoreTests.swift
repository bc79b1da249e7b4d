// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import GRDB
import SQLiteClipStore
import Testing

@Suite struct SQLiteClipStoreTests {
    private func withStore(
        table: String = "clips", column: String = "cloudflare_uid", bodiesPerRun: Int = 1 << 15,
        prepare: (String) throws -> Void = { _ in },
        _ body: (SQLiteClipStore, String) async throws -> Void
    ) async throws {
        try await withStorePath { path in
            try prepare(path)
            let store = try await openStore(path, table: table, column: column, bodiesPerRun: bodiesPerRun)
            try await body(store, path)
            try await store.close()
        }
    }

    private let script = LedgerScript(policy: LifecyclePolicy(), now: Timestamp(seconds: 1_800_000_000))

    @Test(arguments: ClipStoreConformance.Case.allCases)
    func conforms(_ name: ClipStoreConformance.Case) async throws {
        try await withStore { store, _ in try await ClipStoreConformance.run(name, on: store) }
    }

    @Test(arguments: ClipStoreConformance.Case.allCases)
    func conformsWithShortRunsOfBodies(_ name: ClipStoreConformance.Case) async throws {
        try await withStore(bodiesPerRun: 2) { store, _ in try await ClipStoreConformance.run(name, on: store) }
    }

    @Test func everyCommitIsSynced() async throws {
        try await withStore { store, _ in
            let setting = try await store.synchronousSetting()
            #expect(setting == 2)
        }
    }

    @Test func whatWasRecordedIsThereAfterReopening() async throws {
        try await withStore { store, path in
            let uid = try #require(ClipUID("a"))
            let delivery = NewDelivery(
                receivedAt: script.now, signedAt: script.now, signatureHeader: "h", body: [1], bodySHA256: [2],
                uid: uid, outcome: .accepted, signal: Signal(uid: uid, source: .webhook, status: .queued))
            _ = try await store.record(delivery)
            try await store.close()
            let again = try await openStore(path)
            #expect(try await again.read { try $0.delivery(1)?.body } == [1])
            let decided = try await again.write { [script] in try script.applyPending(limit: 9, in: $0) }
            #expect(decided.count == 1)
            try await again.close()
        }
    }

    @Test func newerSchemaIsRefused() async throws {
        try await withStore { store, path in
            let other = try DatabaseQueue(path: path)
            try await other.write {
                try $0.execute(sql: "UPDATE clipbridge_meta SET value = 999 WHERE key = 'schema_version'")
            }
            let error = await #expect(throws: StoreError.self) { try await store.migrate() }
            #expect(error?.code == .newerSchema)
        }
    }

    @Test func secondOwnerIsRefused() async throws {
        try await withStore { store, path in
            try await store.takeOwnership()
            let other = try SQLiteClipStore(
                path: path, clipsTable: try #require(SQLName("clips")),
                uidColumn: try #require(SQLName("cloudflare_uid")))
            let error = await #expect(throws: StoreError.self) { try await other.takeOwnership() }
            #expect(error?.code == .inUse)
            try await other.close()
        }
    }

    /// Also by another name: two owners would pay for a download twice.
    @Test func fileHasOneOwnerByWhateverLink() async throws {
        try await withStore { store, path in
            try await store.takeOwnership()
            try FileManager.default.createSymbolicLink(atPath: path + ".link", withDestinationPath: path)
            let other = try SQLiteClipStore(
                path: path + ".link", clipsTable: try #require(SQLName("clips")),
                uidColumn: try #require(SQLName("cloudflare_uid")))
            let error = await #expect(throws: StoreError.self) { try await other.takeOwnership() }
            #expect(error?.code == .inUse)
            try await other.close()
        }
    }

    // MARK: Adoption

    private static let application = """
        CREATE TABLE "My Clips" (
            id INTEGER PRIMARY KEY, "Video UID" TEXT UNIQUE, title TEXT NOT NULL DEFAULT 'untitled',
            status TEXT, processing_details TEXT
        );
        INSERT INTO "My Clips" ("Video UID", title, status, processing_details) VALUES
            ('one', 'First', 'queued', '{"mine": {"x": 1}}'),
            ('two', 'Second', NULL, NULL),
            ('three', 'Third', 'their own word', 'no json'),
            ('four', 'Fourth', 'error', '{"error_message": "theirs"}');
        """

    private func withApplication(_ body: (SQLiteClipStore, DatabaseQueue) async throws -> Void) async throws {
        try await withStore(
            table: "\"My Clips\"", column: "\"Video UID\"",
            prepare: { path in
                try DatabaseQueue(path: path).write { try $0.execute(sql: Self.application) }
            },
            { store, path in try await body(store, try DatabaseQueue(path: path)) })
    }

    @Test func rowsOfAnApplicationAreAdoptedAtTheirStatus() async throws {
        try await withApplication { store, application in
            let script = script
            #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 2)
            #expect(try await store.write { try script.adopt(limit: 10, in: $0).count } == 0)
            #expect(try await store.read { try $0.foreignRowCount() } == 2)
            let one = try await store.read { try $0.clip(ClipUID("one")!) }
            #expect(one?.status == .queued)
            #expect(one?.details["mine"] == ["x": 1])
            #expect(one?.work?.action == .checkVideo)
            let four = try await store.read { try $0.clip(ClipUID("four")!) }
            #expect(four?.details[.errorMessage] == "theirs")
            let titles = try await application.read {
                try String.fetchAll($0, sql: "SELECT title FROM \"My Clips\" ORDER BY id")
            }
            #expect(titles == ["First", "Second", "Third", "Fourth"])
            #expect(try await LedgerVerification.run(on: store).differences == [])
        }
    }

    private func adopted(_ store: SQLiteClipStore) async throws -> Int {
        let script = script
        return try await store.write { try script.adopt(limit: 10, in: $0).count }
    }

    @Test func copyTakesRowsThatNobodyHasMet() async throws {
        try await withApplication { store, _ in
            try await withStore { destination, _ in
                let copy = try await StoreCopy.run(from: store, to: destination, by: script)
                #expect(copy.clips == 2)
                #expect(copy.foreignRows == 2)
                let one = try await destination.read { try $0.clip(ClipUID("one")!) }
                #expect(one?.work?.action == .checkVideo)
            }
        }
    }

    @Test func removedRowIsMetAnew() async throws {
        try await withApplication { store, application in
            #expect(try await adopted(store) == 2)
            for status in ["complete", "uploading"] {
                try await application.write {
                    try $0.execute(sql: "DELETE FROM \"My Clips\" WHERE \"Video UID\" = 'one'")
                    try $0.execute(
                        sql: "INSERT INTO \"My Clips\" (\"Video UID\", status) VALUES ('one', ?)", arguments: [status])
                }
                #expect(try await adopted(store) == 1)
                let clip = try await store.read { try $0.clip(ClipUID("one")!) }
                #expect(clip?.status?.rawValue == status)
                #expect(clip?.work?.action == (status == "uploading" ? .checkVideo : nil))
            }
        }
    }

    @Test func rowsThatComeOrAreChangedLaterAreAdoptedToo() async throws {
        try await withApplication { store, application in
            #expect(try await adopted(store) == 2)
            try await application.write {
                try $0.execute(
                    sql: """
                        INSERT INTO "My Clips" ("Video UID", status) VALUES ('five', 'queued'), ('six', 'draft'),
                            ('no video!', 'queued'), (NULL, 'queued'), ('gone', 'queued');
                        UPDATE "My Clips" SET status = 'processing' WHERE "Video UID" IN ('two', 'one');
                        DELETE FROM "My Clips" WHERE "Video UID" = 'gone';
                        """)
            }
            // Again at the start, when those are forgotten that have gone.
            try await store.migrate()
            #expect(try await adopted(store) == 2)
            #expect(try await store.read { try $0.clip(ClipUID("five")!)?.isMet } == true)
            #expect(try await store.read { try $0.clip(ClipUID("two")!)?.isMet } == true)
            #expect(try await store.read { try $0.foreignRowCount() } == 3)
            #expect(
                try await application.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM clipbridge_arrivals") }
                    == 0)
        }
    }

    @Test func rowsOfATableThatWasMadeAnewAreAdopted() async throws {
        try #require(FullDisk.isInstalled)
        try await withApplication { store, application in
            #expect(try await store.foreignWritesSinceLastCall())
            #expect(try await adopted(store) == 2)
            // As SQLite recommends for what ALTER TABLE can not do. It takes triggers and indexes with it.
            try await application.write {
                try $0.execute(
                    sql: """
                        CREATE TABLE new (
                            id INTEGER PRIMARY KEY, "Video UID" TEXT UNIQUE, status TEXT, processing_details TEXT);
                        INSERT INTO new SELECT id, "Video UID", status, processing_details FROM "My Clips";
                        DROP TABLE "My Clips";
                        ALTER TABLE new RENAME TO "My Clips";
                        INSERT INTO "My Clips" ("Video UID", status) VALUES ('five', 'queued');
                        """)
            }
            // What notes new rows is put back as soon as that can be.
            await FullDisk.isFull(at: application.path) {
                await #expect(throws: StoreError.self) { try await store.foreignWritesSinceLastCall() }
            }
            #expect(try await store.foreignWritesSinceLastCall())
            #expect(try await adopted(store) == 1)
            try await application.write {
                try $0.execute(sql: "INSERT INTO \"My Clips\" (\"Video UID\", status) VALUES ('six', 'queued')")
            }
            #expect(try await store.foreignWritesSinceLastCall())
            #expect(try await adopted(store) == 1)
        }
    }

    @Test func signalForARowOfForeignStatusLeavesItAlone() async throws {
        try await withApplication { store, _ in
            let script = script
            let uid = ClipUID("three")!
            let decisions = try await store.write {
                try script.submit(Signal(uid: uid, source: .operator, status: .complete), in: $0)
            }
            #expect(decisions.entry.reason == .unknownStatus)
            #expect(try await store.read { try $0.clip(uid)?.statusWord } == "their own word")
        }
    }

    @Test func requestedStatusIsLiftedAndRemoved() async throws {
        try await withApplication { store, application in
            let script = script
            #expect(try await store.foreignWritesSinceLastCall())
            #expect(try await !store.foreignWritesSinceLastCall())
            try await application.write {
                try $0.execute(
                    sql: """
                        UPDATE "My Clips" SET processing_details = '{"mine": 1, "requested_status": "stream_ready",
                            "status_request_time": "2026-01-01T00:00:00Z"}' WHERE "Video UID" = 'one';
                        UPDATE "My Clips" SET processing_details = '{"requested_status": "banana"}'
                            WHERE "Video UID" = 'four'
                        """)
            }
            #expect(try await store.foreignWritesSinceLastCall())
            let entries = try await store.write { try script.liftRequests(limit: 10, in: $0) }
            #expect(Set(entries.map(\.outcome)) == [.applied, .rejected])
            #expect(entries.allSatisfy { $0.signal.source == .external })
            let one = try await store.read { try $0.clip(ClipUID("one")!) }
            #expect(one?.status == .streamReady)
            #expect(one?.details["mine"] == 1)
            #expect(one?.details[DetailKey.requestedStatus] == nil)
            #expect(one?.details[DetailKey.statusRequestTime] == nil)
            #expect(try await store.write { try script.liftRequests(limit: 10, in: $0) } == [])
        }
    }

    /// SQLite keeps anything in any column. Each of these rows is left alone or read as far as it can be.
    @Test func bytesThatAreNoTextHarmNobody() async throws {
        try await withApplication { store, application in
            let script = script
            try await application.write {
                try $0.execute(
                    sql: """
                        INSERT INTO "My Clips" ("Video UID", status, processing_details) VALUES
                            (x'f0e1d2c3', 'queued', '{"requested_status": "processing"}'), (x'61', 'queued', NULL),
                            (CAST(x'616200' AS TEXT), 'queued', '{"requested_status": "processing"}'),
                            (CAST(x'ff' AS TEXT), 'queued', NULL),
                            ('bytes', 'queued', x'cc0f4c6d696e653c68656c6c6f');
                        UPDATE "My Clips" SET status = x'ff00', processing_details = x'ff00' WHERE "Video UID" = 'one'
                        """)
            }
            _ = try await store.write { try script.adopt(after: nil, limit: 10, in: $0) }
            #expect(try await store.write { try script.liftRequests(limit: 10, in: $0) } == [])
            let bytes = try await store.read { try $0.clip(ClipUID("bytes")!) }
            #expect(bytes?.isMet == true && bytes?.status == .queued)
            #expect(try await store.read { try $0.clip(ClipUID("one")!)?.status } == nil)
            #expect(try await store.read { try $0.clip(ClipUID("a")!) } == nil)
            #expect(try await store.read { try $0.unmetClips(after: nil, limit: 10) } == [])
            #expect(try await store.read { try $0.clip(ClipUID("ab")!) } == nil)
            let uids = try await store.read { try $0.uids(after: nil, limit: 100) }
            #expect(uids.contains("bytes") && !uids.contains("a") && !uids.contains("ab"))
            #expect(try await store.read { try $0.uids(after: uids.last, limit: 100) } == [])
        }
    }

    /// Nobody may be asked the same again and again, as fast as that goes.
    @Test(arguments: [
        "BEFORE UPDATE ON \"My Clips\" BEGIN SELECT RAISE(IGNORE); END",
        """
        AFTER UPDATE ON "My Clips" WHEN new.processing_details <> old.processing_details BEGIN
            UPDATE "My Clips" SET processing_details = old.processing_details WHERE id = old.id;
        END
        """,
    ])
    func requestThatStaysIsNotLifted(trigger: String) async throws {
        try await withApplication { store, application in
            let script = script
            _ = try await store.write { try script.adopt(after: nil, limit: 10, in: $0) }
            try await application.write {
                try $0.execute(
                    sql: """
                        UPDATE "My Clips" SET processing_details = '{"requested_status": "processing"}'
                            WHERE "Video UID" = 'one';
                        CREATE TRIGGER own \(trigger)
                        """)
            }
            #expect(try await store.write { try script.liftRequests(limit: 10, in: $0) } == [])
        }
    }

    @Test func requestIsFoundByItsIndex() async throws {
        try await withApplication { _, application in
            let plan = try await application.read {
                try Row.fetchAll(
                    $0,
                    sql: """
                        EXPLAIN QUERY PLAN SELECT "Video UID" FROM "My Clips" WHERE CASE WHEN
                        json_valid(processing_details)
                        THEN json_extract(processing_details, '$.requested_status') END IS NOT NULL
                        """
                ).map { $0["detail"] as String }
            }
            #expect(plan.contains { $0.contains("clipbridge_requested") })
        }
    }

    /// Also when the table says nothing about it.
    @Test(arguments: [
        "CREATE TABLE clips (cloudflare_uid TEXT UNIQUE, status TEXT, processing_details TEXT, owner TEXT NOT NULL)",
        """
        CREATE TABLE clips (cloudflare_uid TEXT UNIQUE, status TEXT, processing_details TEXT);
        CREATE TRIGGER none BEFORE INSERT ON clips BEGIN SELECT RAISE(IGNORE); END
        """,
    ])
    func tableMayForbidCreation(table: String) async throws {
        try await withStore(
            prepare: { path in try DatabaseQueue(path: path).write { try $0.execute(sql: table) } },
            { store, _ in
                let script = script
                let decisions = try await store.write {
                    try script.submit(
                        Signal(uid: ClipUID("new")!, source: .operator, status: .queued), registers: true, in: $0)
                }
                #expect(decisions.entry.reason == .unknownClip)
                #expect(try await store.read { try $0.history(of: ClipUID("new")!).count } == 1)
            })
    }

    /// Nor does the row keep half of what was refused, as `FAIL` would have it.
    @Test(arguments: [
        "AFTER UPDATE ON clips WHEN new.cloudflare_uid = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END",
        "AFTER UPDATE ON clips WHEN new.cloudflare_uid = 'bad' BEGIN SELECT RAISE(FAIL, 'no'); END",
        "AFTER UPDATE ON clips WHEN new.cloudflare_uid = 'bad' BEGIN SELECT json_extract('{', '$.a'); END",
    ])
    func rowThatIsRefusedKeepsNoOtherFromItsDecision(trigger: String) async throws {
        try await withStore { store, path in
            let script = script
            let clips = ["first", "bad", "last"].map { Signal(uid: ClipUID($0)!, source: .webhook, status: .queued) }
            for clip in clips { _ = try await store.write { try script.submit(clip, registers: true, in: $0) } }
            try await DatabaseQueue(path: path).write { try $0.execute(sql: "CREATE TRIGGER own \(trigger)") }
            for (number, clip) in clips.enumerated() {
                _ = try await store.record(
                    NewDelivery(
                        receivedAt: script.now, signedAt: script.now, signatureHeader: "h", body: [UInt8(number)],
                        bodySHA256: [UInt8(number)], uid: clip.uid, outcome: .accepted,
                        signal: Signal(uid: clip.uid, source: .webhook, status: .processing)))
            }
            let decided = try await store.write { try script.applyPending(limit: 9, in: $0) }
            #expect(decided.map(\.outcome) == [.applied, .rejected, .applied])
            #expect(try await store.read { try $0.clip(ClipUID("bad")!)?.status } == .queued)
            #expect(try await store.write { try script.applyPending(limit: 9, in: $0) } == [])
        }
    }

    /// A table that is being made anew refuses nothing.
    @Test func triggerWithoutItsTableIsTriedAgain() async throws {
        try await withStore { store, path in
            let script = script
            let uid = try #require(ClipUID("one"))
            let queued = Signal(uid: uid, source: .webhook, status: .queued)
            _ = try await store.write { try script.submit(queued, registers: true, in: $0) }
            let application = try DatabaseQueue(path: path)
            try await application.write {
                try $0.execute(
                    sql: """
                        CREATE TABLE log (uid TEXT);
                        CREATE TRIGGER own AFTER UPDATE ON clips BEGIN INSERT INTO log VALUES (new.cloudflare_uid); END
                        """)
            }
            let processing = Signal(uid: uid, source: .webhook, status: .processing)
            let ready = Signal(uid: uid, source: .webhook, status: .streamReady)
            _ = try await store.write { try script.submit(processing, in: $0) }
            try await application.write { try $0.execute(sql: "DROP TABLE log") }
            await #expect(throws: StoreError.self) { try await store.write { try script.submit(ready, in: $0) } }
            try await application.write { try $0.execute(sql: "CREATE TABLE log (uid TEXT)") }
            let decisions = try await store.write { try script.submit(ready, in: $0) }
            #expect(decisions.entry.outcome == .applied)
            #expect(try await application.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM log") } == 1)
        }
    }

    @Test(arguments: [
        "CREATE TABLE clips (cloudflare_uid TEXT UNIQUE, status TEXT)",
        "CREATE TABLE clips (cloudflare_uid TEXT, status TEXT, processing_details TEXT)",
        "CREATE TABLE clips (cloudflare_uid INTEGER UNIQUE, status TEXT, processing_details TEXT)",
        "CREATE TABLE clips (cloudflare_uid UUID UNIQUE, status TEXT, processing_details TEXT)",
    ])
    func unsuitableTableIsRefusedWithWords(_ sql: String) async throws {
        let error = await #expect(throws: StoreError.self) {
            try await withStore(
                prepare: { path in try DatabaseQueue(path: path).write { try $0.execute(sql: sql) } }, { _, _ in })
        }
        #expect(error?.code == .unsuitableTable)
    }
}
