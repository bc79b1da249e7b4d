// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import Testing

/// What the outbox of every store has to do alike.
extension ClipStoreConformance {
    private struct Stop: Error {}

    /// A script that tells two targets.
    private static func telling(at seconds: Int64 = 0) -> LedgerScript {
        var script = script(at: seconds)
        script.notifyTargets = ["a", "b"]
        return script
    }

    private static func claimMessages(
        _ target: String = "a", owner: String = "one", at seconds: Int64 = 5, limit: Int = 10,
        on store: some ClipStore
    ) async throws -> [OutgoingMessage] {
        let now = Timestamp(seconds: start.seconds + seconds)
        return try await store.write {
            try OutboxScript.claim(to: target, owner: owner, lease: .seconds(30), limit: limit, at: now, in: $0)
        }
    }

    private static func finish(
        _ outgoing: OutgoingMessage, _ ending: OutboxScript.Ending, at seconds: Int64 = 5, on store: some ClipStore
    ) async throws -> Bool {
        let now = Timestamp(seconds: start.seconds + seconds)
        return try await store.write { try OutboxScript.finish(outgoing, ending, at: now, in: $0) }
    }

    static func outboxTellsOfChangesOnly(_ store: some ClipStore) async throws {
        let script = telling()
        func submit(_ status: ClipStatus, registers: Bool = false) async throws -> LedgerEntry {
            try await store.write {
                try script.submit(
                    Signal(uid: uid(1), source: .operator, status: status, details: ["mine": 1]),
                    registers: registers, in: $0
                ).entry
            }
        }
        let created = try await submit(.uploading, registers: true)
        _ = try await submit(.uploading)
        let moved = try await submit(.streamReady)
        _ = try await submit(.queued)
        let messages = try await store.read { try $0.messages(after: 0, limit: 100) }
        #expect(messages.map(\.target) == ["a", "b", "a", "b"])
        #expect(messages.map(\.source) == [created.seq, created.seq, moved.seq, moved.seq])
        #expect(messages.allSatisfy { $0.kind == .status && $0.uid == uid(1) && $0.createdAt == start })
        let body = DetailsText.decodeObject(String(decoding: messages[2].body, as: UTF8.self))
        let data = body["data"]?.objectValue
        #expect(body["type"] == "clip.status_changed" && body["timestamp"] == .string(start.rfc3339))
        #expect(data?["status"] == "stream_ready" && data?["previous_status"] == "uploading")
        #expect(data?["seq"] == .integer(moved.seq) && data?["progress"] == 60 && data?["source"] == "operator")
        #expect(data?["processing_details"]?.objectValue?["mine"] == 1)
        #expect(try await store.read { try $0.messageCounts() } == ["a": 2, "b": 2])
    }

    static func nothingIsToldOfWhatWasNotCommitted(_ store: some ClipStore) async throws {
        let script = telling()
        await #expect(throws: Stop.self) {
            try await store.write { transaction -> Void in
                _ = try script.submit(
                    Signal(uid: uid(1), source: .operator, status: .queued), registers: true, in: transaction)
                throw Stop()
            }
        }
        // Without targets there is nobody to tell.
        try await register(uid(2), .queued, on: store)
        #expect(try await store.read { try $0.messages(after: 0, limit: 9) } == [])
        #expect(try await store.read { try $0.nextMessageDue(to: "a") } == nil)
        #expect(try await claimMessages(on: store) == [])
    }

    static func deliveryIsPassedOnOnce(_ store: some ClipStore) async throws {
        var first = delivery(uid(1), .queued, body: "the same")
        first.forwardTargets = ["a"]
        var malformed = delivery(uid(2), .queued, body: "malformed")
        (malformed.uid, malformed.signal, malformed.outcome) = (nil, nil, .malformed)
        malformed.forwardTargets = ["a"]
        for delivery in [first, first, malformed] { _ = try await store.record(delivery) }
        let claimed = try await claimMessages(on: store)
        #expect(claimed.map(\.body) == [first.body, malformed.body])
        #expect(claimed.map(\.signatureHeader) == [first.signatureHeader, malformed.signatureHeader])
        #expect(claimed.map(\.message.uid) == [uid(1), nil])
    }

    static func messagesOfAClipKeepTheirOrder(_ store: some ClipStore) async throws {
        let script = telling()
        for (number, status) in [(1, ClipStatus.queued), (2, .queued), (1, .processing), (1, .streamReady)] {
            _ = try await store.write {
                try script.submit(
                    Signal(uid: uid(number), source: .operator, status: status), registers: true, in: $0)
            }
        }
        let claimed = try await claimMessages(on: store)
        #expect(claimed.map(\.message.uid) == [uid(1), uid(2)])
        #expect(try await claimMessages(on: store) == [])
        // What failed keeps those behind it waiting, and no other clip's.
        #expect(try await finish(claimed[0], .postponed(.seconds(60)), on: store))
        #expect(try await claimMessages(at: 64, on: store).map(\.message.uid) == [uid(2)])
        let again = try #require(try await claimMessages(at: 65, on: store).first)
        #expect(again.message.id == claimed[0].message.id && again.message.attempt == 1)
        #expect(try await finish(again, .removed, at: 66, on: store))
        let next = try #require(try await claimMessages(at: 67, on: store).first)
        #expect(next.message.uid == uid(1) && next.message.source > again.message.source)
        // The other target has them all still.
        #expect(try await store.read { try $0.messageCounts() } == ["a": 3, "b": 4])
    }

    static func onlyOneClaimWinsAMessage(_ store: some ClipStore) async throws {
        let script = telling()
        _ = try await store.write {
            try script.submit(Signal(uid: uid(1), source: .operator, status: .queued), registers: true, in: $0)
        }
        let claims = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<16 {
                group.addTask { try await claimMessages(owner: "owner \(number)", on: store).count }
            }
            return try await group.reduce(0, +)
        }
        #expect(claims == 1)
    }

    static func messageOfALostLeaseIsAnothers(_ store: some ClipStore) async throws {
        let script = telling()
        _ = try await store.write {
            try script.submit(Signal(uid: uid(1), source: .operator, status: .queued), registers: true, in: $0)
        }
        let first = try #require(try await claimMessages(at: 0, on: store).first)
        #expect(try await claimMessages(owner: "two", at: 29, on: store) == [])
        let second = try #require(try await claimMessages(owner: "two", at: 30, on: store).first)
        #expect(second.message.id == first.message.id && second.message.attempt == 0)
        for ending in [OutboxScript.Ending.removed, .postponed(.seconds(1)), .released] {
            #expect(try await !finish(first, ending, at: 31, on: store))
        }
        // Of a process that is known to be dead at once.
        let end = Timestamp(seconds: start.seconds + 32)
        try await store.write { try $0.endMessageLeases(exceptOf: "three", at: end) }
        #expect(try await !finish(second, .removed, at: 33, on: store))
        let third = try #require(try await claimMessages(owner: "three", at: 33, on: store).first)
        #expect(try await finish(third, .released, at: 34, on: store))
        #expect(try await store.read { try $0.nextMessageDue(to: "a") } == Timestamp(seconds: start.seconds + 34))
    }

    static func messagesToNobodyAreRemoved(_ store: some ClipStore) async throws {
        let script = telling()
        for number in 1...3 {
            _ = try await store.write {
                try script.submit(
                    Signal(uid: uid(number), source: .operator, status: .queued), registers: true, in: $0)
            }
        }
        #expect(try await store.write { try $0.removeMessages(exceptTo: ["b", "c"]) } == 3)
        #expect(try await store.read { try $0.messageCounts() } == ["b": 3])
        #expect(try await store.write { try $0.removeMessages(exceptTo: []) } == 3)
        #expect(try await store.read { try $0.messageCounts() } == [:])
    }
}
