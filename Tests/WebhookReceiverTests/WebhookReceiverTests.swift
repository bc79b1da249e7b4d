// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import MetricsTestKit
import NIOCore
import Testing
import WebhookReceiver

@Suite(.timeLimit(.minutes(1)))
struct WebhookReceiverTests {
    private let ready = Array(#"{"uid":"clip1","status":{"state":"ready"}}"#.utf8)

    private func code(_ answer: RawAnswer) -> String? {
        answer.body.wholeMatch(of: /\{"error":"([a-z_]+)","message":".+"\}/).map { String($0.1) }
    }

    @Test func verifiedDeliveryIsStoredAndAccepted() async throws {
        let world = World()
        let header = world.signed(ready, age: 3)
        let answer = try await world.run { try await $0.post(ready, signature: header) }
        #expect(answer.status == 200)
        #expect(answer.body == #"{"outcome":"accepted","delivery":"d1"}"#)
        #expect(answer.header("Content-Type") == "application/json")
        #expect(answer.header("Date") == "Fri, 15 Jan 2027 08:00:00 GMT")
        let delivery = try #require(world.ledger.deliveries.first)
        #expect(delivery.body == ready)
        #expect(delivery.signatureHeader == header)
        #expect(delivery.receivedAt == world.clock.time)
        #expect(delivery.signedAt == Timestamp(seconds: world.clock.time.seconds - 3))
        #expect(delivery.bodySHA256.count == 32)
        #expect(delivery.outcome == .accepted)
        #expect(delivery.signal?.request == .status(.streamReady))
        #expect(world.wakeCount == 1)
    }

    @Test func secretThatIsFoundLaterIsAcceptedBesideTheOld() async throws {
        var world = World()
        let secrets = WebhookSecrets([World.secret])
        world.configuration.secrets = secrets
        #expect(!secrets.accept(World.secret))
        let body = ready
        let answers = try await world.run { [world] client in
            var answers: [Int] = []
            for secret in ["first", "second", "third"] {
                let signature = WebhookVerifier.sign(secret: secret, time: world.clock.time, body: body)
                answers.append(try await client.post(body, signature: signature).status)
                #expect(secrets.accept(secret) && !secrets.accept(secret))
                answers.append(try await client.post(body, signature: signature).status)
            }
            answers.append(try await client.post(body, signature: world.signed(body)).status)
            let oldest = WebhookVerifier.sign(secret: "first", time: world.clock.time, body: body)
            answers.append(try await client.post(body, signature: oldest).status)
            return answers
        }
        #expect(answers == [401, 200, 401, 200, 401, 200, 200, 401])
    }

    @Test func traceIsTakenFromTheRequestOrGivenToIt() async throws {
        let world = World()
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        let other = Array(#"{"uid":"clip2","status":{"state":"ready"}}"#.utf8)
        try await world.run { client in
            let header = "traceparent: 00-\(trace)-00f067aa0ba902b7-01\r\n"
            _ = try await client.post(ready, signature: world.signed(ready), extra: header)
            _ = try await client.post(other, signature: world.signed(other))
        }
        let traces = world.ledger.deliveries.map(\.signal?.trace)
        #expect(traces.first??.rawValue == trace)
        #expect(traces.last??.rawValue.count == 32 && traces.first != traces.last)
    }

    @Test func repeatedBodyIsADuplicateOfTheFirst() async throws {
        let world = World()
        let answers = try await world.run { client in
            var answers: [RawAnswer] = []
            for age in 0..<3 {
                answers.append(try await client.post(ready, signature: world.signed(ready, age: Int64(age))))
            }
            return answers
        }
        #expect(answers.map(\.status) == [200, 200, 200])
        #expect(answers[1].body == #"{"outcome":"duplicate","delivery":"d1"}"#)
        #expect(answers[2].body == answers[1].body)
        #expect(world.wakeCount == 1)
    }

    @Test func manyIdenticalDeliveriesAtOnceGiveOneAccepted() async throws {
        let world = World()
        let bodies = try await world.run { client in
            try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<64 {
                    group.addTask { try await client.post(ready, signature: world.signed(ready)).body }
                }
                return try await group.reduce(into: [String]()) { $0.append($1) }
            }
        }
        #expect(bodies.count { $0.contains("accepted") } == 1)
        #expect(bodies.count { $0.contains("duplicate") } == 63)
        #expect(world.ledger.deliveries.count == 1)
    }

    @Test func ignoredDeliveryIsStoredAndSaysWhy() async throws {
        let world = World()
        let body = try Fixture.bytes("stream/live-connected.json")
        let answers = try await world.run { client in
            [
                try await client.post(body, signature: world.signed(body)),
                try await client.post(body, signature: world.signed(body)),
            ]
        }
        #expect(answers[0].status == 200)
        #expect(answers[0].body == #"{"outcome":"ignored","reason":"live_event"}"#)
        #expect(answers[1].body == #"{"outcome":"duplicate","delivery":"d1"}"#)
        #expect(world.ledger.deliveries.map(\.outcome) == [.ignored])
        #expect(world.wakeCount == 0)
    }

    @Test func malformedDeliveryIsStoredAndRefusedEveryTime() async throws {
        let world = World()
        let body = try Fixture.bytes("malformed/uid-null.json")
        let answers = try await world.run { client in
            [
                try await client.post(body, signature: world.signed(body)),
                try await client.post(body, signature: world.signed(body)),
            ]
        }
        #expect(answers.map(\.status) == [400, 400])
        #expect(answers.map(code) == ["uid_missing", "uid_missing"])
        #expect(world.ledger.deliveries.map(\.outcome) == [.malformed])
        #expect(world.ledger.deliveries.first?.body == body)
    }

    @Test func everyFixtureIsAnsweredByItsFolder() async throws {
        let world = World()
        try await world.run { client in
            for (folder, status) in [("stream", 200), ("malformed", 400)] {
                for name in try Fixture.names(in: folder) {
                    let body = try Fixture.bytes("\(folder)/\(name)")
                    let answer = try await client.post(body, signature: world.signed(body))
                    #expect(answer.status == status, "\(folder)/\(name): \(answer.body)")
                }
            }
        }
    }

    // MARK: Signatures

    @Test func eachBadSignatureHasItsCode() async throws {
        let world = World()
        let good = world.signed(ready)
        try await world.run { client in
            let cases: [(String?, String)] = [
                (nil, "signature_missing"), ("nonsense", "signature_malformed"), ("", "signature_malformed"),
                (good + "," + good, "signature_malformed"),
                (world.signed(ready, secret: "other"), "signature_mismatch"),
                (world.signed([]), "signature_mismatch"), (world.signed(ready, age: 301), "signature_expired"),
                (world.signed(ready, age: -301), "signature_expired"),
                (world.signed(ready, secret: "other", age: 9_999), "signature_mismatch"),
            ]
            for (header, expected) in cases {
                let answer = try await client.post(ready, signature: header)
                #expect(answer.status == 401)
                #expect(code(answer) == expected)
            }
            let twice = try await client.post(ready, signature: good, extra: "Webhook-Signature: \(good)\r\n")
            #expect(code(twice) == "signature_malformed")
        }
        #expect(world.ledger.calls == 0)
    }

    @Test func expiredSignatureTellsItsAge() async throws {
        let world = World()
        let answer = try await world.run { try await $0.post(ready, signature: world.signed(ready, age: 412)) }
        #expect(answer.body.contains("the signature is 412 s old, tolerance is 300 s"))
    }

    @Test func toleranceIncludesItsLimitBothWays() async throws {
        let world = World()
        try await world.run { client in
            for age: Int64 in [300, -300] {
                let status = try await client.post(ready, signature: world.signed(ready, age: age)).status
                #expect(status == 200)
            }
        }
    }

    @Test func anyOfSeveralSecretsMatches() async throws {
        var world = World()
        world.configuration.secrets = WebhookSecrets(["new", "old"] + (0..<100).map { "secret\($0)" })
        let fixed = world
        try await fixed.run { client in
            for secret in ["new", "old", "secret99"] {
                let status = try await client.post(ready, signature: fixed.signed(ready, secret: secret)).status
                #expect(status == 200)
            }
            let status = try await client.post(ready, signature: fixed.signed(ready)).status
            #expect(status == 401)
        }
    }

    @Test func bodyIsVerifiedByteForByte() async throws {
        let world = World()
        let body = Array("{ \"uid\" : \"clip1\",\r\n\t\"status\":{\"state\":\"ready\"}}\r\n\r\n".utf8)
        #expect(try await world.run { try await $0.post(body, signature: world.signed(body)) }.status == 200)
        #expect(world.ledger.deliveries.first?.body == body)
    }

    // MARK: Limits

    @Test(arguments: ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD"])
    func otherMethodIsNotAllowed(method: String) async throws {
        let world = World()
        let text = try await world.run { client in
            try await client.connect { connection in
                try await connection.send(
                    "\(method) \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                )
                return await connection.rest()
            }
        }
        #expect(text.hasPrefix("HTTP/1.1 405 "))
        #expect(text.lowercased().contains("\r\nallow: post\r\n"))
        #expect(text.contains(#"{"error":"method_not_allowed","message":"#) == (method != "HEAD"))
    }

    @Test func declaredLengthBeyondTheLimitIsRefusedBeforeTheBody() async throws {
        let world = World()
        let answer = try await world.run { client in
            try await client.connect { connection in
                try await connection.send(
                    "POST \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\nContent-Length: 262145\r\n\r\n"
                )
                let answer = try await connection.answer()
                let rest = await connection.rest()
                #expect(rest.isEmpty)
                return answer
            }
        }
        #expect(answer.status == 413)
        #expect(code(answer) == "body_too_large")
        #expect(answer.header("Connection") == "close")
    }

    private func chunked(_ client: RawClient, _ body: [UInt8], signature: String) async throws -> RawAnswer {
        try await client.connect { connection in
            try await connection.send(
                "POST \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\nWebhook-Signature: \(signature)\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n"
            )
            var rest = body[...]
            while !rest.isEmpty {
                let chunk = rest.prefix(10_000)
                rest = rest.dropFirst(10_000)
                try await connection.send("\(String(chunk.count, radix: 16))\r\n")
                try await connection.send(Array(chunk) + Array("\r\n".utf8))
            }
            try await connection.send("0\r\n\r\n")
            return try await connection.answer()
        }
    }

    /// Both hold back their ends, so whichever comes second finds no room; a body of a usual size needs none.
    @Test func largeBodiesTogetherAreBounded() async throws {
        var world = World()
        world.configuration.heldBytesMax = 64 << 10
        let small = Array(#"{"uid":"clip1","status":{"state":"ready"}}"#.utf8)
        let large = small + Array(repeating: 0x20, count: 70 << 10)
        let fixed = world
        let end = Gate()
        try await fixed.run { client in
            try await withThrowingTaskGroup(of: RawAnswer.self) { group in
                for _ in 0..<2 {
                    group.addTask {
                        try await client.connect { connection in
                            try await connection.send(
                                "POST \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\n"
                                    + "Webhook-Signature: \(fixed.signed(large))\r\n"
                                    + "Content-Length: \(large.count)\r\n\r\n"
                            )
                            try? await connection.send(Array(large.dropLast()))
                            async let answer = connection.answer()
                            // The one that is answered already has closed.
                            await end.wait()
                            try? await connection.send([0x20])
                            return try await answer
                        }
                    }
                }
                let refused = try fixed.metrics.expectCounter(
                    "clipbridge_webhooks_total", [("outcome", "bodies_busy")])
                try await until { refused.values.count == 1 }
                #expect(try await client.post(small, signature: fixed.signed(small)).status == 200)
                end.open()
                var answers: [RawAnswer] = []
                for try await answer in group { answers.append(answer) }
                #expect(answers.map(\.status).sorted() == [200, 503])
                #expect(answers.contains { $0.header("Retry-After") == "5" })
            }
            #expect(try await client.post(large, signature: fixed.signed(large)).status == 200)
        }
    }

    @Test func chunkedBodyIsCounted() async throws {
        let world = World()
        let start = Array(#"{"uid":"clip1","status":{"state":"ready"}}"#.utf8)
        let most = start + [UInt8](repeating: 0x20, count: (256 << 10) - start.count)
        try await world.run { client in
            let answer = try await chunked(client, most, signature: world.signed(most))
            #expect(answer.status == 200)
            let more = try await chunked(client, most + [0x20], signature: world.signed(most + [0x20]))
            #expect(more.status == 413)
            #expect(code(more) == "body_too_large")
            let status = try await client.post(most, signature: world.signed(most)).status
            #expect(status == 200)
        }
        #expect(world.ledger.deliveries.map(\.body.count) == [256 << 10])
    }

    @Test func connectionGoesOnAfterARefusal() async throws {
        let world = World()
        let statuses = try await world.run { client in
            try await client.connect { connection in
                var statuses: [Int] = []
                for header in ["bad", world.signed(ready), "bad", world.signed(ready)] {
                    try await connection.send(
                        "POST \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\nWebhook-Signature: \(header)\r\n"
                            + "Content-Length: \(ready.count)\r\n\r\n"
                    )
                    try await connection.send(ready)
                    statuses.append(try await connection.answer().status)
                }
                return statuses
            }
        }
        #expect(statuses == [401, 200, 401, 200])
    }

    // MARK: Store

    @Test func storeThatFailsIsA503() async throws {
        let world = World()
        let answers = try await world.run { client in
            world.ledger.setAway(true)
            let away = try await client.post(ready, signature: world.signed(ready))
            world.ledger.setAway(false)
            return [away, try await client.post(ready, signature: world.signed(ready))]
        }
        #expect(answers.map(\.status) == [503, 200])
        #expect(code(answers[0]) == "store_unavailable")
        #expect(answers[0].header("Retry-After") == "5")
        #expect(world.wakeCount == 1)
    }

    @Test func storeThatIsSlowIsA503AndStillWakesWhenItIsDone() async throws {
        var world = World()
        world.clock.sleepPassesAtOnce = true
        let gate = Gate()
        world.ledger.hold(at: gate)
        let fixed = world
        let answer = try await fixed.run { client in
            // Whatever fails, nothing may be held for ever.
            defer { gate.open() }
            let answer = try await client.post(ready, signature: fixed.signed(ready))
            gate.open()
            try await until { fixed.wakeCount == 1 }
            return answer
        }
        #expect(answer.status == 503)
        #expect(code(answer) == "store_unavailable")
        #expect(fixed.ledger.deliveries.count == 1)
    }

    /// One after the other they would each wait for the whole time again.
    @Test func clockThatIsSetBackKeepsNobodyWaiting() async throws {
        let (world, clock, gate) = (World(), ClockSetBack(), Gate())
        world.ledger.hold(at: gate)
        // Whatever fails, nothing may be held for ever.
        defer { gate.open() }
        let receiver = WebhookReceiver(
            configuration: world.configuration, ledger: world.ledger, clock: clock, logger: World.logger, onStored: {})
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<4 {
                let body = Array(#"{"uid":"clip\#(number)","status":{"state":"ready"}}"#.utf8)
                let headers: HTTPFields = [.webhookSignature: world.signed(body)]
                group.addTask { await receiver.receive(headers: headers, body: body).code }
            }
            try await until { world.ledger.calls == 4 }
            clock.mayBegin.open()
            return try await group.reduce(into: [Int]()) { $0.append($1) }
        }
        #expect(statuses == [503, 503, 503, 503])
        #expect(clock.slept == [.seconds(10), .zero, .zero, .zero])
    }

    @Test func deliveriesBeyondTheQueueAreTurnedAway() async throws {
        var world = World()
        world.configuration.waitingMax = 4
        let gate = Gate()
        world.ledger.hold(at: gate)
        let fixed = world
        let held = try await fixed.run { client in
            // Whatever fails, nothing may be held for ever.
            defer { gate.open() }
            return try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<4 {
                    group.addTask {
                        let body = Array(#"{"uid":"clip\#(number)","status":{"state":"ready"}}"#.utf8)
                        return try await client.post(body, signature: fixed.signed(body)).status
                    }
                }
                try await until { fixed.ledger.calls == 4 }
                let turnedAway = try await client.post(ready, signature: fixed.signed(ready))
                #expect(turnedAway.status == 503)
                #expect(turnedAway.header("Retry-After") == "5")
                gate.open()
                return try await group.reduce(into: [Int]()) { $0.append($1) }
            }
        }
        #expect(held == [200, 200, 200, 200])
        #expect(fixed.ledger.calls == 4)
    }

    // MARK: Metrics

    @Test func outcomesAndCommitTimeAreMeasured() async throws {
        let world = World()
        try await world.run { client in
            _ = try await client.post(ready, signature: world.signed(ready))
            _ = try await client.post(ready, signature: world.signed(ready))
            _ = try await client.post(ready, signature: "x")
            _ = try await client.post([], signature: world.signed([]))
        }
        for (outcome, total) in [
            ("accepted", Int64(1)), ("duplicate", 1), ("signature_malformed", 1), ("malformed", 1),
        ] {
            let counter = try world.metrics.expectCounter("clipbridge_webhooks_total", [("outcome", outcome)])
            #expect(counter.totalValue == total)
        }
        #expect(try world.metrics.expectTimer("clipbridge_webhook_commit_seconds").values.count == 3)
        let last = try world.metrics.expectGauge("clipbridge_last_webhook_timestamp_seconds")
        #expect(last.lastValue == Double(world.clock.time.seconds))
    }

    @Test func lastWebhookHasNoTimeBeforeOneIsStored() async throws {
        let world = World()
        try await world.run { client in _ = try await client.post(ready, signature: "x") }
        #expect(throws: (any Error).self) {
            try world.metrics.expectGauge("clipbridge_last_webhook_timestamp_seconds")
        }
    }
}
