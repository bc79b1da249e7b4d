// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import HTTPTypes
import NIOConcurrencyHelpers
import Testing

@Suite struct DeliveryRouteTests {
    private let members: Set<String> = ["id", "received_at", "signed_at", "uid", "outcome"]

    @Test func deliveriesAreWalkedNewestFirst() async throws {
        let world = World()
        for number in 0..<7 { _ = try await world.deliver(uid(number), .queued) }
        try await world.serve { client in
            let first = try await client.get("/api/deliveries?limit=4")
            #expect(Set(first.json.objectValue?.keys.map { $0 } ?? []) == ["deliveries", "next_cursor"])
            let cursor = try #require(first["next_cursor"]?.stringValue)
            let second = try await client.get("/api/deliveries?limit=4&cursor=\(cursor)")
            #expect(second["next_cursor"] == .null)
            let all = first.array("deliveries") + second.array("deliveries")
            #expect(all.map { $0.objectValue?["id"] } == (1...7).reversed().map { .string(String($0)) })
            #expect(all.allSatisfy { Set($0.objectValue?.keys.map { $0 } ?? []) == members })
        }
    }

    @Test func deliveriesAreFilteredByClip() async throws {
        let world = World()
        for number in 0..<3 { _ = try await world.deliver(uid(number), .queued) }
        try await world.serve { client in
            #expect(try await client.get("/api/deliveries?uid=\(uid(1))").array("deliveries").count == 1)
            #expect(try await client.get("/api/deliveries?uid=\(uid(9))").array("deliveries").isEmpty)
            client.expectProblem(try await client.get("/api/deliveries?uid=a%20b"), 400)
        }
    }

    @Test func deliveryIsShownWithItsBody() async throws {
        let world = World()
        let id = try await world.deliver(uid(1), .queued)
        try await world.serve { client in
            let answer = try await client.get("/api/deliveries/\(id)")
            #expect(answer.status == 200)
            #expect(Set(answer.json.objectValue?.keys.map { $0 } ?? []) == members.union(["body"]))
            #expect(answer["body"] == .string("\(uid(1)) queued"))
            #expect(answer["outcome"] == "accepted")
            #expect(answer["received_at"] == .string(world.clock.now().rfc3339))
        }
    }

    @Test func bodyThatIsNoTextIsShownInBase64Beside() async throws {
        let world = World()
        let bytes: [UInt8] = [0x7B, 0xFF, 0xFE]
        _ = try await world.store.record(
            NewDelivery(
                receivedAt: world.clock.now(), signedAt: world.clock.now(), signatureHeader: "", body: bytes,
                bodySHA256: bytes, uid: nil, outcome: .malformed, signal: nil))
        try await world.serve { client in
            let answer = try await client.get("/api/deliveries/1")
            #expect(answer["uid"] == .null)
            #expect(answer["body_base64"] == "e//+")
        }
    }

    @Test(arguments: ["0", "-1", "99", "x", "99999999999999999999"])
    func unknownDeliveryIs404(_ id: String) async throws {
        try await World().serve { client in
            client.expectProblem(try await client.get("/api/deliveries/\(id)"), 404)
            client.expectProblem(try await client.post("/api/deliveries/\(id)/replay"), 404)
        }
    }

    @Test func replayGoesPastTheDuplicateCheck() async throws {
        let world = World()
        let id = try await world.deliver(uid(1), .queued)
        try await world.serve { client in
            let answer = try await client.post("/api/deliveries/\(id)/replay")
            #expect(answer.status == 202)
            #expect(answer.json == ["delivery": .string(id), "outcome": "accepted"])
        }
        #expect(world.wakes.withLockedValue { $0 } == 1)
        let pending = try await world.store.read { $0.pendingEntries(of: uid(1)) }
        #expect(pending.map(\.delivery) == [id, id])
        #expect(pending.map(\.signal.source) == [.webhook, .webhook])
    }

    @Test func replayOfAMalformedDeliverySaysSo() async throws {
        let world = World()
        _ = try await world.store.record(
            NewDelivery(
                receivedAt: world.clock.now(), signedAt: world.clock.now(), signatureHeader: "", body: [0x20],
                bodySHA256: [1], uid: nil, outcome: .malformed, signal: nil))
        try await world.serve { client in
            let answer = try await client.post("/api/deliveries/1/replay")
            #expect(answer.json == ["delivery": "1", "outcome": "malformed"])
        }
        #expect(world.wakes.withLockedValue { $0 } == 0)
    }
}
