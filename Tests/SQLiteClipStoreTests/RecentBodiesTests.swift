// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Crypto
import Foundation
import GRDB
import SQLiteClipStore
import Testing

/// A body is known by its hash wherever that is: in memory, on its way into the index, or in it.
@Suite struct RecentBodiesTests {
    private let now = Timestamp(seconds: 1_800_000_000)

    private func open(_ path: String, bodiesPerRun: Int = 4) async throws -> SQLiteClipStore {
        try await openStore(path, bodiesPerRun: bodiesPerRun)
    }

    private func delivery(_ number: Int) -> NewDelivery {
        let body = Array("body \(number)".utf8)
        return NewDelivery(
            receivedAt: now, signedAt: now, signatureHeader: "h", body: body,
            bodySHA256: Array(SHA256.hash(data: body)), uid: nil, outcome: .ignored, signal: nil)
    }

    /// How many bodies are in the index, and how many are kept for a start.
    private func counts(_ path: String) async throws -> (indexed: Int, recent: Int) {
        try await DatabaseQueue(path: path).read {
            (
                try Int.fetchOne($0, sql: "SELECT count(*) FROM clipbridge_bodies") ?? -1,
                try Int.fetchOne($0, sql: "SELECT coalesce(sum(length(bodies)), 0) / 40 FROM clipbridge_bodies_recent")
                    ?? -1
            )
        }
    }

    @Test func everyBodyIsKnownWhereverItIs() async throws {
        try await withStorePath { path in
            var store = try await open(path)
            for number in 1...30 {
                #expect(try await store.record(delivery(number)) == .stored(id: "\(number)"))
                for known in 1...number {
                    #expect(try await store.record(delivery(known)) == .duplicate(of: "\(known)"))
                }
                let (indexed, recent) = try await counts(path)
                #expect(recent <= 8)
                #expect(indexed + recent >= number)
                // A new process reads what this one had in memory.
                if number.isMultiple(of: 7) {
                    try await store.close()
                    store = try await open(path)
                }
            }
            #expect(try await counts(path).indexed >= 22)
            try await store.close()
        }
    }

    @Test func batchesWithRepetitionsAreStoredOnce() async throws {
        try await withStorePath { path in
            let store = try await open(path, bodiesPerRun: 50)
            let receipts = try await withThrowingTaskGroup(of: (Int, DeliveryReceipt).self) { group in
                for number in 0..<600 {
                    group.addTask { (number % 200, try await store.record(delivery(number % 200))) }
                }
                return try await group.reduce(into: [Int: [DeliveryReceipt]]()) { $0[$1.0, default: []].append($1.1) }
            }
            var ids: Set<String> = []
            for (number, receipts) in receipts {
                let stored = receipts.compactMap { if case .stored(let id) = $0 { id } else { nil } }
                try #require(stored.count == 1)
                #expect(receipts.count { $0 == .duplicate(of: stored[0]) } == 2)
                #expect(try await store.read { try $0.delivery(Int64(stored[0]) ?? 0)?.body } == delivery(number).body)
                ids.formUnion(stored)
            }
            #expect(ids.count == 200)
            try await store.close()
        }
    }

    /// A store whose deliveries were removed for their age, with their hashes in memory after 3, on their way into the
    /// index after 5, and in it after 9.
    private func openAfterRemoval(of count: Int, _ path: String) async throws -> SQLiteClipStore {
        let store = try await open(path)
        for number in 1...count { _ = try await store.record(delivery(number)) }
        let script = LedgerScript(policy: LifecyclePolicy(), now: now)
        _ = try await store.write { try script.applyPending(limit: 99, in: $0) }
        let limit = Timestamp(seconds: now.seconds + 1)
        #expect(try await store.write { try $0.deleteDeliveries(receivedBefore: limit, limit: 99) } == count)
        return store
    }

    @Test(arguments: [3, 5, 9]) func bodyOfRemovedDeliveryIsNew(_ count: Int) async throws {
        try await withStorePath { path in
            let store = try await openAfterRemoval(of: count, path)
            for number in 1...count {
                let id = "\(count + number)"
                #expect(try await store.record(delivery(number)) == .stored(id: id))
                #expect(try await store.record(delivery(number)) == .duplicate(of: id))
            }
            for number in 100...120 { _ = try await store.record(delivery(number)) }
            for number in 1...count {
                #expect(try await store.record(delivery(number)) == .duplicate(of: "\(count + number)"))
            }
            try await store.close()
        }
    }

    @Test(arguments: [3, 5, 9]) func removedBodiesLeaveTheIndex(_ count: Int) async throws {
        try await withStorePath { path in
            let store = try await openAfterRemoval(of: count, path)
            for number in 100...120 { _ = try await store.record(delivery(number)) }
            let (all, left) = try await DatabaseQueue(path: path).read {
                (
                    try Int.fetchOne($0, sql: "SELECT count(*) FROM clipbridge_bodies"),
                    try Int.fetchOne(
                        $0,
                        sql: "SELECT count(*) FROM clipbridge_bodies "
                            + "WHERE delivery NOT IN (SELECT id FROM clipbridge_deliveries)")
                )
            }
            #expect((all ?? 0) >= 12)
            #expect(left == 0)
            try await store.close()
        }
    }

    /// What is stored next gets the number that the failed one would have had.
    @Test func bodyOfFailedCommitIsNew() async throws {
        try #require(FullDisk.isInstalled)
        try await withStorePath { path in
            let store = try await open(path)
            for number in 1...20 {
                await FullDisk.isFull(at: path) {
                    await #expect(throws: StoreError.self) { try await store.record(delivery(100 + number)) }
                }
                #expect(try await store.record(delivery(number)) == .stored(id: "\(number)"))
            }
            for number in 1...20 {
                #expect(try await store.record(delivery(number)) == .duplicate(of: "\(number)"))
                #expect(try await store.record(delivery(100 + number)) == .stored(id: "\(20 + number)"))
            }
            try await store.close()
        }
    }

    /// How far a run has come is not kept, and yet each comes to its end.
    @Test func whatWaitsIsBoundedHoweverOftenTheProcessStarts() async throws {
        try await withStorePath { path in
            for start in 0..<40 {
                let store = try await open(path, bodiesPerRun: 10)
                for number in 1...3 { _ = try await store.record(delivery(3 * start + number)) }
                try await store.close()
                #expect(try await counts(path).recent <= 15)
            }
            let store = try await open(path, bodiesPerRun: 10)
            for number in 1...120 {
                #expect(try await store.record(delivery(number)) == .duplicate(of: "\(number)"))
            }
            try await store.close()
        }
    }

    @Test func restoredBodiesAreKnownAndReplaceThoseOfTheSameNumber() async throws {
        try await withStorePath { path in
            @Sendable func stored(_ id: Int64, _ number: Int) -> StoredDelivery {
                StoredDelivery(
                    record: DeliveryRecord(
                        id: id, receivedAt: now, signedAt: now, signatureHeader: "h", body: delivery(number).body,
                        uid: nil, outcome: .ignored),
                    bodySHA256: delivery(number).bodySHA256)
            }
            var store = try await open(path)
            for number in 1...9 { _ = try await store.record(delivery(number)) }
            try await store.write {
                // One in the place of another, one that has come anew, and one that is there.
                for one in [stored(5, 50), stored(30, 2), stored(30, 2), stored(9, 9)] { try $0.restore(one) }
            }
            for _ in 1...2 {
                #expect(try await store.record(delivery(50)) == .duplicate(of: "5"))
                #expect(try await store.record(delivery(9)) == .duplicate(of: "9"))
                #expect(try await store.record(delivery(1)) == .duplicate(of: "1"))
                #expect(try await store.record(delivery(2)) == .duplicate(of: "30"))
                try await store.close()
                store = try await open(path)
            }
            #expect(try await store.read { try $0.delivery(2) } == nil)
            #expect(try await store.record(delivery(5)) == .stored(id: "31"))
            try await store.close()
        }
    }

    @Test func anotherProcessBodiesAreKnown() async throws {
        try await withStorePath { path in
            let (one, other) = (try await open(path), try await open(path))
            for number in 1...30 {
                let (first, second) = number.isMultiple(of: 3) ? (other, one) : (one, other)
                #expect(try await first.record(delivery(number)) == .stored(id: "\(number)"))
                #expect(try await second.record(delivery(number)) == .duplicate(of: "\(number)"))
                #expect(try await counts(path).recent <= 8)
            }
            for number in 1...30 {
                #expect(try await one.record(delivery(number)) == .duplicate(of: "\(number)"))
            }
            try await one.close()
            try await other.close()
        }
    }

    /// Of schema 7, beside a view of the application's that is broken.
    @Test func olderStoreKnowsItsBodies() async throws {
        try await withStorePath { path in
            let store = try await open(path)
            for number in 1...6 { _ = try await store.record(delivery(number)) }
            try await store.close()
            try await DatabaseQueue(path: path).write {
                try $0.execute(
                    sql: """
                        \(SchemaSeven.sql)
                        DELETE FROM clipbridge_deliveries WHERE id = 6;
                        CREATE TABLE notes (
                            id INTEGER PRIMARY KEY REFERENCES clipbridge_deliveries (id) ON DELETE CASCADE);
                        INSERT INTO notes VALUES (3);
                        CREATE VIEW broken AS SELECT * FROM no_such_table;
                        """)
            }
            let again = try await open(path)
            for number in 1...5 {
                #expect(try await again.record(delivery(number)) == .duplicate(of: "\(number)"))
            }
            #expect(try await again.record(delivery(6)) == .stored(id: "7"))
            #expect(try await again.read { try $0.delivery(3)?.body } == delivery(3).body)
            #expect(try await counts(path).indexed == 5)
            let notes = try await DatabaseQueue(path: path).read { try Int.fetchOne($0, sql: "SELECT id FROM notes") }
            #expect(notes == 3)
            try await again.close()
        }
    }
}
