// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Hummingbird
import MetricsTestKit
import NIOCore
import Testing
import WebhookReceiver

/// Deliveries are answered before the server's own way; on one connection nobody may see it.
@Suite(.timeLimit(.minutes(1)))
struct WebhookHandlerTests {
    private let ready = Array(#"{"uid":"clip1","status":{"state":"ready"}}"#.utf8)
    private let queued = Array(#"{"uid":"clip1","status":{"state":"queued"}}"#.utf8)

    private func post(
        _ body: [UInt8], signature: String, path: String = WebhookReceiver.path, extra: String = ""
    ) -> String {
        "POST \(path) HTTP/1.1\r\nHost: h\r\nWebhook-Signature: \(signature)\r\n\(extra)"
            + "Content-Length: \(body.count)\r\n\r\n" + String(decoding: body, as: UTF8.self)
    }

    private func get(_ path: String) -> String { "GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n" }

    @Test func answersComeInTheOrderOfTheRequests() async throws {
        let world = World()
        let slow = SlowRoute()
        let bodies = try await world.serve(slow.router) { client in
            try await client.connect { connection in
                try await connection.send(
                    get("/slow") + post(ready, signature: world.signed(ready)) + get("/quick")
                        + post(queued, signature: world.signed(queued)))
                await slow.begun.wait()
                // What waits for the first answer is not begun.
                #expect(world.ledger.calls == 0)
                slow.mayEnd.open()
                var bodies: [String] = []
                for _ in 0..<4 { bodies.append(try await connection.answer().body) }
                return bodies
            }
        }
        #expect(
            bodies == [
                "slow", #"{"outcome":"accepted","delivery":"d1"}"#, "quick",
                #"{"outcome":"accepted","delivery":"d2"}"#,
            ])
    }

    /// With what is no HTTP at all behind it.
    @Test func whatComesBehindADeliveryWaitsForIts() async throws {
        let world = World()
        let stored = Gate()
        world.ledger.hold(at: stored)
        let router = Router()
        router.get("/quick") { _, _ in "quick" }
        let text = try await world.serve(router) { client in
            try await client.connect { connection in
                try await connection.send(
                    post(ready, signature: world.signed(ready)) + get("/quick") + "neither this\r\n\r\n")
                try await until { world.ledger.calls == 1 }
                stored.open()
                return await connection.rest()
            }
        }
        let statuses = text.matches(of: /HTTP\/1\.1 (\d+)/).map { String($0.1) }
        #expect(statuses == ["200", "200", "400"])
        #expect(text.contains(#""delivery":"d1"}HTTP/1.1 200"#))
        #expect(text.contains("quickHTTP/1.1 400"))
    }

    /// A sender that wants to be told before it sends its body.
    @Test func bodyThatIsOfferedIsAskedFor() async throws {
        let world = World()
        let router = Router()
        router.post("/echo") { request, _ in String(buffer: try await request.body.collect(upTo: 1_024)) }
        let statuses = try await world.serve(router) { client in
            try await client.connect { connection in
                var statuses: [Int] = []
                for head in [
                    post(ready, signature: world.signed(ready), extra: "Expect: 100-continue\r\n"),
                    "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n"
                        + "Content-Length: \(ready.count)\r\n\r\n" + String(decoding: ready, as: UTF8.self),
                ] {
                    try await connection.send(String(head.dropLast(ready.count)))
                    statuses.append(try await connection.answer().status)
                    try await connection.send(ready)
                    statuses.append(try await connection.answer().status)
                }
                // What is refused by its head alone is not asked for.
                let refused = post(ready, signature: "bad", extra: "Expect: 100-continue\r\n")
                try await connection.send(String(refused.dropLast(ready.count)))
                statuses.append(try await connection.answer().status)
                return statuses
            }
        }
        #expect(statuses == [100, 200, 100, 200, 401])
    }

    /// Its sender reads until then.
    @Test func connectionOfHTTP10EndsWithItsAnswer() async throws {
        let world = World()
        let router = Router()
        router.get("/quick") { _, _ in "quick" }
        let texts = try await world.serve(router) { client in
            var texts: [String] = []
            for request in [get("/quick"), post(ready, signature: world.signed(ready))] {
                texts.append(
                    try await client.connect { connection in
                        try await connection.send(request.replacing("HTTP/1.1", with: "HTTP/1.0"))
                        return await connection.rest()
                    })
            }
            return texts
        }
        #expect(texts[0].hasSuffix("\r\n\r\nquick"))
        #expect(texts[1].hasSuffix(#"{"outcome":"accepted","delivery":"d1"}"#))
    }

    @Test func refusalComesBeforeTheBody() async throws {
        let world = World()
        let statuses = try await world.run { client in
            try await client.connect { connection in
                let whole = post(ready, signature: "bad")
                try await connection.send(String(whole.dropLast(ready.count)))
                var statuses = [try await connection.answer().status]
                try await connection.send(ready)
                try await connection.send(post(ready, signature: world.signed(ready)))
                statuses.append(try await connection.answer().status)
                return statuses
            }
        }
        #expect(statuses == [401, 200])
    }

    @Test func connectionIsClosedForWhoAsksForIt() async throws {
        let world = World()
        let text = try await world.run { client in
            try await client.connect { connection in
                let signature = world.signed(ready)
                try await connection.send(post(ready, signature: signature, extra: "Connection: Close\r\n"))
                return await connection.rest()
            }
        }
        #expect(text.hasPrefix("HTTP/1.1 200"))
        #expect(text.contains("Connection: close\r\n"))
    }

    /// RFC 9112 (3.2.2) has a server take a target with a host in it.
    @Test(arguments: [
        "PATH", "PATH/", "PATH?source=cloudflare", "PATH/?a=/b", "http://h:8080PATH", "http://hPATH?a", "/PATH",
    ])
    func pathMayBeWrittenInOtherWays(target: String) async throws {
        let world = World()
        let status = try await world.run { client in
            try await client.connect { connection in
                let path = target.replacing("PATH", with: WebhookReceiver.path)
                try await connection.send(post(ready, signature: world.signed(ready), path: path))
                return try await connection.answer().status
            }
        }
        #expect(status == 200)
    }

    @Test(arguments: ["/webhooks", "/webhooks/cloudflare-stream/more", "/webhooks/cloudflare-streams", "/"])
    func otherPathsAreNotTaken(path: String) async throws {
        let world = World()
        let status = try await world.run { client in
            try await client.connect { connection in
                try await connection.send(post(ready, signature: world.signed(ready), path: path))
                return try await connection.answer().status
            }
        }
        #expect(status == 404)
        #expect(world.ledger.calls == 0)
    }

    @Test func senderThatHangsUpTakesNothingBack() async throws {
        let world = World()
        let stored = Gate()
        world.ledger.hold(at: stored)
        try await world.run { client in
            try await client.connect { connection in
                try await connection.send(post(ready, signature: world.signed(ready)))
                try await until { world.ledger.calls == 1 }
            }
            stored.open()
            try await until { world.ledger.deliveries.count == 1 && world.wakeCount == 1 }
            #expect(try await client.post(ready, signature: world.signed(ready)).body.contains("duplicate"))
        }
    }

    @Test func deliveryInHandIsAnsweredWhenTheServerEnds() async throws {
        let world = World()
        let stored = Gate()
        world.ledger.hold(at: stored)
        let text = try await world.serve(Router()) { client, shutDown in
            try await client.connect { connection in
                try await connection.send(post(ready, signature: world.signed(ready)))
                try await until { world.ledger.calls == 1 }
                let idle = try await client.connect { idle in
                    try await idle.send(get("/nowhere"))
                    let status = try await idle.answer().status
                    await shutDown()
                    return "\(status), then \(await idle.rest())"
                }
                #expect(idle == "404, then ")
                stored.open()
                return await connection.rest()
            }
        }
        #expect(text.hasSuffix(#"{"outcome":"accepted","delivery":"d1"}"#))
    }

    /// Each is refused at once, when all of them are let go at once.
    @Test func crowdOfRefusalsBehindAnAnswerNeedsNoStack() async throws {
        let world = World()
        let slow = SlowRoute()
        let count = 2_000
        let forged = "time=1800000000,sig1=\(String(repeating: "0", count: 64))"
        let statuses = try await world.serve(slow.router) { client in
            try await client.connect { connection in
                let one = post([], signature: forged)
                try await connection.send(get("/slow") + String(repeating: one, count: count))
                await slow.begun.wait()
                slow.mayEnd.open()
                var statuses: [Int] = []
                for _ in 0...count { statuses.append(try await connection.answer().status) }
                return statuses
            }
        }
        #expect(statuses == [200] + Array(repeating: 401, count: count))
    }

    @Test func nothingIsStoredBehindAnAnswerThatCloses() async throws {
        let world = World()
        let text = try await world.run { client in
            try await client.connect { connection in
                let signature = world.signed(ready)
                try await connection.send(
                    post(ready, signature: signature, extra: "Connection: close\r\n")
                        + post(queued, signature: world.signed(queued)))
                return await connection.rest()
            }
        }
        #expect(text.matches(of: /HTTP\/1\.1 200/).count == 1)
        #expect(world.ledger.deliveries.map(\.body) == [ready])
    }

    @Test func bodyThatEndsTooSoonIsCounted() async throws {
        let world = World()
        try await world.run { client in
            try await client.connect { connection in
                let whole = post(ready, signature: world.signed(ready))
                try await connection.send(String(whole.dropLast(5)))
            }
            let counter = try world.metrics.expectCounter("clipbridge_webhooks_total", [("outcome", "body_incomplete")])
            try await until { counter.values.count == 1 }
        }
        #expect(world.ledger.calls == 0)
    }
}
