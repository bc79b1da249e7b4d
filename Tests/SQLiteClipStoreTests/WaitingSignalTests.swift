// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import GRDB
import SQLiteClipStore
import Testing

/// Signals that stay with their deliveries until they are decided.
@Suite struct WaitingSignalTests {
    private let script = LedgerScript(policy: LifecyclePolicy(), now: Timestamp(seconds: 1_800_000_000))

    private func delivery(_ uid: String, _ status: ClipStatus?, number: UInt8) -> NewDelivery {
        let uid = ClipUID(uid)
        let signal = status.flatMap { status in
            uid.map {
                Signal(
                    uid: $0, source: .webhook, request: .status(status), details: ["number": .integer(Int64(number))],
                    percent: 12.5, trace: TraceID(rawValue: "4bf92f3577b34da6a3ce929d0e0e4736"))
            }
        }
        return NewDelivery(
            receivedAt: script.now, signedAt: script.now, signatureHeader: "h", body: [number], bodySHA256: [number],
            uid: uid, outcome: signal == nil ? .ignored : .accepted, signal: signal)
    }

    private func apply(_ store: SQLiteClipStore, limit: Int = 10) async throws -> [LedgerEntry] {
        let script = script
        return try await store.write { try script.applyPending(limit: limit, in: $0) }
    }

    @Test func theyAreDecidedOnceInTheirOrderAlsoAfterAStart() async throws {
        try await withStorePath { path in
            var store = try await openStore(path)
            let statuses: [ClipStatus?] = [.queued, nil, .processing, .streamReady, nil]
            for (number, status) in statuses.enumerated() {
                _ = try await store.record(delivery("a", status, number: UInt8(number + 1)))
            }
            #expect(try await store.read { try $0.history(of: ClipUID("a")!) } == [])
            #expect(try await store.read { try $0.oldestUndecided() } == script.now)
            let first = try await apply(store, limit: 2)
            #expect(first.map(\.delivery) == ["1", "3"])
            #expect(first.first?.signal == delivery("a", .queued, number: 1).signal)
            try await store.close()
            store = try await openStore(path)
            #expect(try await apply(store).map(\.delivery) == ["4"])
            #expect(try await apply(store) == [])
            #expect(try await store.read { try $0.oldestUndecided() } == nil)
            #expect(try await store.read { try $0.history(of: ClipUID("a")!).map(\.seq) } == [1, 2, 3])
            #expect(try await LedgerVerification.run(on: store).differences == [])
            try await store.close()
        }
    }

    /// What was acknowledged before somebody asks for a status is decided before it.
    @Test(arguments: [false, true])
    func aClipsOwnGoBeforeWhatIsSubmitted(startsAnew: Bool) async throws {
        try await withStorePath { path in
            var store = try await openStore(path)
            for (number, uid) in ["a", "b", "a", "b"].enumerated() {
                _ = try await store.record(delivery(uid, number < 2 ? .queued : .processing, number: UInt8(number + 1)))
            }
            if startsAnew {
                try await store.close()
                store = try await openStore(path)
            }
            #expect(
                try await store.read { try $0.deliveries(uid: ClipUID("b"), before: nil, limit: 9) }.map(\.id) == [
                    4, 2,
                ])
            let (script, asked) = (
                script, Signal(uid: try #require(ClipUID("b")), source: .operator, status: .streamReady)
            )
            let decisions = try await store.write { try script.submit(asked, in: $0) }
            #expect(decisions.all.map(\.delivery) == ["2", "4", nil])
            #expect(decisions.all.map(\.to) == [.queued, .processing, .streamReady])
            // One whose transaction fails is as if it had not been.
            await #expect(throws: CancellationError.self) {
                try await store.write { transaction in
                    _ = try script.submit(Signal(uid: ClipUID("a")!, source: .poll, status: .queued), in: transaction)
                    throw CancellationError()
                }
            }
            _ = try await store.record(delivery("b", .streamReady, number: 5))
            #expect(try await apply(store).map(\.delivery) == ["1", "3", "5"])
            #expect(try await apply(store) == [])
            #expect(
                try await store.read { try $0.deliveries(uid: ClipUID("b"), before: nil, limit: 9) }.map(\.id) == [
                    5, 4, 2,
                ])
            #expect(try await LedgerVerification.run(on: store).differences == [])
            try await store.close()
        }
    }

    /// SQLite itself takes back a transaction whose COMMIT finds the disk full.
    @Test func theyAreDecidedOnceAfterCommitsThatFailed() async throws {
        try #require(FullDisk.isInstalled)
        try await withStorePath { path in
            let (store, script) = (try await openStore(path), script)
            let asked = Signal(uid: try #require(ClipUID("a")), source: .operator, status: .processing)
            _ = try await store.record(delivery("a", .queued, number: 1))
            _ = try await store.write { try script.submit(asked, in: $0) }
            // The same number, each time.
            for number in UInt8(2)...4 {
                await FullDisk.isFull(at: path) {
                    await #expect(throws: StoreError.self) {
                        try await store.record(delivery("a", .streamReady, number: number))
                    }
                    await #expect(throws: StoreError.self) {
                        try await store.write { try script.submit(asked, in: $0) }
                    }
                }
            }
            _ = try await store.record(delivery("a", .streamReady, number: 5))
            let decisions = try await store.write { try script.submit(asked, in: $0) }
            #expect(decisions.all.map(\.delivery) == ["2", nil])
            #expect(try await apply(store) == [])
            #expect(try await store.read { try $0.history(of: asked.uid).map(\.delivery) } == ["1", nil, "2", nil])
            try await store.close()
        }
    }

    @Test func deliveriesThatAreNotDecidedAreKept() async throws {
        try await withStorePath { path in
            let store = try await openStore(path)
            for number in 1...3 { _ = try await store.record(delivery("a", .queued, number: UInt8(number))) }
            _ = try await apply(store, limit: 2)
            let later = Timestamp(seconds: script.now.seconds + 1)
            #expect(try await store.write { try $0.deleteDeliveries(receivedBefore: later, limit: 9) } == 2)
            #expect(try await apply(store).map(\.delivery) == ["3"])
            try await store.close()
        }
    }

    /// Of schema 6, with an entry that was not decided.
    @Test func olderStoreGoesOnWhereItWas() async throws {
        try await withStorePath { path in
            let store = try await openStore(path)
            _ = try await store.record(delivery("a", .queued, number: 1))
            _ = try await apply(store)
            try await store.close()
            try await DatabaseQueue(path: path).write {
                try $0.execute(
                    sql: """
                        \(SchemaSeven.sql)
                        DROP VIEW clipbridge_ledger; DROP TABLE clipbridge_pending;
                        ALTER TABLE clipbridge_deliveries DROP COLUMN signal;
                        DELETE FROM clipbridge_meta WHERE key = 'signals_taken';
                        UPDATE clipbridge_meta SET value = 6 WHERE key = 'schema_version';
                        CREATE INDEX clipbridge_signals_pending ON clipbridge_signals (seq) WHERE outcome IS NULL;
                        CREATE INDEX clipbridge_signals_pending_uid ON clipbridge_signals (uid, seq) WHERE outcome IS NULL;
                        INSERT INTO clipbridge_deliveries VALUES (2, 1, 1, 'h', x'02', x'02', 'a', 'accepted');
                        INSERT INTO clipbridge_signals (uid, at, source, kind, requested_status, details, delivery)
                        VALUES ('a', 1, 'webhook', 'status', 'processing', '{}', 2);
                        """)
            }
            let again = try await openStore(path)
            _ = try await again.record(delivery("a", .streamReady, number: 3))
            let decided = try await apply(again)
            #expect(decided.map(\.seq) == [2, 3])
            #expect(decided.map(\.delivery) == ["2", "3"])
            #expect(decided.map(\.to) == [.processing, .streamReady])
            #expect(try await LedgerVerification.run(on: again).differences == [])
            try await again.close()
        }
    }
}
