// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import NIOConcurrencyHelpers
import PostgresClipStore
import Testing

/// Several stores, as of several processes, on one database.
@Suite struct SharingTests {
    private func withStores(
        _ count: Int, _ timeSource: PostgresClipStore.TimeSource = .caller,
        _ body: ([PostgresClipStore], TestDatabase) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            let stores = try (0..<count).map { _ in try database.store(timeSource: timeSource, connections: 2) }
            // All at once, as replicas start.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for store in stores { group.addTask { try await store.migrate() } }
                try await group.waitForAll()
            }
            try await body(stores, database)
            for store in stores { try await store.close() }
        }
    }

    private static func uid(_ number: Int) -> ClipUID { ClipUID("clip\(number)")! }  // A valid uid.

    private static func register(_ count: Int, on store: PostgresClipStore) async throws {
        let script = LedgerScript(policy: LifecyclePolicy(), now: Timestamp(seconds: 1_800_000_000))
        try await store.write { transaction in
            for number in 0..<count {
                _ = try script.submit(
                    Signal(uid: uid(number), source: .operator, status: .uploading), registers: true, in: transaction)
            }
        }
    }

    @Test func everyWorkIsClaimedOnce() async throws {
        try await withStores(4) { stores, _ in
            try await Self.register(200, on: stores[0])
            let script = LedgerScript(policy: LifecyclePolicy(), now: Timestamp(seconds: 1_800_000_100))
            let claimed = try await withThrowingTaskGroup(of: [ClipUID].self) { group in
                for (index, store) in stores.enumerated() {
                    group.addTask {
                        var mine: [ClipUID] = []
                        while true {
                            let found = try await store.write {
                                try script.claim(
                                    [.checkVideo], owner: "owner \(index)", lease: .seconds(15), limit: 7, in: $0)
                            }
                            mine += found.map(\.uid)
                            // Others may hold what is left for a moment.
                            let isOver = try await store.read {
                                try $0.dueWork([.checkVideo], at: script.now, limit: 1).isEmpty
                            }
                            if isOver { return mine }
                        }
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(claimed.count == 200)
            #expect(Set(claimed).count == 200)
        }
    }

    /// Deliveries of a few clips by all, decided by all: the ledger's order is the order of the decisions.
    @Test func decisionsOfManyFollowTheLedger() async throws {
        try await withStores(3) { stores, _ in
            let start = Timestamp(seconds: 1_800_000_000)
            let statuses: [ClipStatus] = [.uploading, .queued, .processing, .streamReady, .queued]
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (index, store) in stores.enumerated() {
                    group.addTask {
                        try await withThrowingTaskGroup(of: Void.self) { sends in
                            for number in 0..<120 {
                                sends.addTask {
                                    let uid = Self.uid(number % 4)
                                    let body = Array("\(index) \(number)".utf8)
                                    _ = try await store.record(
                                        NewDelivery(
                                            receivedAt: start, signedAt: start, signatureHeader: "h", body: body,
                                            bodySHA256: body, uid: uid, outcome: .accepted,
                                            signal: Signal(
                                                uid: uid, source: .webhook, status: statuses[number % statuses.count])))
                                }
                            }
                            try await sends.waitForAll()
                        }
                    }
                    group.addTask {
                        let script = LedgerScript(policy: LifecyclePolicy(), now: start)
                        var decided = 0
                        while decided < 40 {
                            decided += try await store.write { try script.applyPending(limit: 16, in: $0).count }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let script = LedgerScript(policy: LifecyclePolicy(), now: start)
            while try await !stores[0].write({ try script.applyPending(limit: 100, in: $0) }).isEmpty {}
            let result = try await LedgerVerification.run(on: stores[1])
            #expect(result.differences == [])
            #expect(result.entries == 360 && result.pending == 0)
            // Numbers of changes come in the order in which they can be seen.
            let seqs = try await stores[2].read { try $0.clips(changedAfter: 0, limit: 100).map(\.changeSeq) }
            #expect(seqs.count == 4 && seqs == seqs.sorted())
        }
    }

    /// Whoever has seen a change has seen all before it, whatever commits in which order.
    @Test func noChangeAppearsBehindOneThatWasSeen() async throws {
        try await withStores(3) { stores, _ in
            try await Self.register(30, on: stores[0])
            let start = Timestamp(seconds: 1_800_000_000)
            let isOver = NIOLockedValueBox(false)
            let seen = try await withThrowingTaskGroup(of: [ClipUID: Int64].self) { group in
                for store in stores.prefix(2) {
                    group.addTask {
                        let script = LedgerScript(policy: LifecyclePolicy(), now: start)
                        for round in 0..<60 {
                            _ = try await store.write {
                                try script.submit(
                                    Signal(
                                        uid: Self.uid(round % 30), source: .operator, status: .uploading,
                                        details: ["round": .integer(Int64(round))]), in: $0)
                            }
                        }
                        isOver.withLockedValue { $0 = true }
                        return [:]
                    }
                }
                group.addTask {
                    var last: Int64 = 0
                    var latest: [ClipUID: Int64] = [:]
                    while true {
                        let wasOver = isOver.withLockedValue { $0 }
                        let after = last
                        for clip in try await stores[2].read({ try $0.clips(changedAfter: after, limit: 1_000) }) {
                            latest[clip.uid] = clip.changeSeq
                            last = max(last, clip.changeSeq)
                        }
                        if wasOver { return latest }
                    }
                }
                return try await group.reduce(into: [:]) { $0.merge($1) { _, new in new } }
            }
            let end = try await stores[0].read { try $0.clips(changedAfter: 0, limit: 100) }
            // One writer may have gone on after the reader's last look; nothing that it had passed may be missing.
            let last = seen.values.max() ?? 0
            for clip in end where clip.changeSeq <= last { #expect(seen[clip.uid] == clip.changeSeq) }
        }
    }

    @Test func serversClockDecidesLeases() async throws {
        try await withStores(2, .server) { stores, _ in
            // Two clocks that are wrong by an hour, either way.
            let now = SystemWallClock().now()
            let fast = LedgerScript(policy: LifecyclePolicy(), now: now + .seconds(3_600))
            let slow = LedgerScript(
                policy: LifecyclePolicy(), now: Timestamp(milliseconds: now.milliseconds - 3_600_000))
            try await Self.register(1, on: stores[0])
            // Due by the server's clock, for another hour not by this one.
            let claimed = try await stores[0].write {
                try slow.claim([.checkVideo], owner: "slow", lease: .seconds(15), limit: 1, in: $0)
            }
            #expect(claimed.count == 1)
            // Long over by this clock, and not by the server's.
            #expect(try await stores[1].write { try fast.rescue(limit: 10, in: $0) } == [])
            #expect(try await stores[1].read { try $0.work(of: Self.uid(0))?.lease?.owner } == "slow")
        }
    }

    @Test func textIsOnesAtATime() async throws {
        try await withStores(3) { stores, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for store in stores {
                    group.addTask {
                        for _ in 0..<20 {
                            try await store.withText("count") { text, _ in text = String((Int(text ?? "0") ?? 0) + 1) }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await stores[0].withText("count") { text, _ in text } == "60")
        }
    }

    @Test func changesOfOneAreToldToTheOthers() async throws {
        try await withStores(2) { stores, _ in
            let told = Said()
            let watching = Task { await stores[1].watch { told.say("changed") } }
            await eventually { !told.words.isEmpty }
            let before = told.words.count
            let start = Timestamp(seconds: 1_800_000_000)
            _ = try await stores[0].record(
                NewDelivery(
                    receivedAt: start, signedAt: start, signatureHeader: "h", body: [1], bodySHA256: [2],
                    uid: Self.uid(0), outcome: .accepted,
                    signal: Signal(uid: Self.uid(0), source: .webhook, status: .queued)))
            await eventually { told.words.count > before }
            watching.cancel()
            await watching.value
        }
    }

    @Test func newerSchemaIsRefusedAtStartAndToleratedWhileServing() async throws {
        try await withStores(1) { stores, database in
            try await database.execute("UPDATE clipbridge_meta SET value = 999 WHERE key = 'schema_version'")
            try await stores[0].checkReady()
            let late = try database.store()
            let error = await #expect(throws: StoreError.self) { try await late.migrate() }
            #expect(error?.code == .newerSchema && error?.message.contains("999") == true)
            try await late.close()
        }
    }
}
