// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Hummingbird
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import WebhookReceiver

@Suite(.timeLimit(.minutes(1)))
struct ServerLimitsTests {
    private let short = ServerLimits(
        headTimeLimit: .milliseconds(400),
        bodyTimeLimit: .milliseconds(400),
        idleTimeout: .milliseconds(800)
    )
    /// For a sender whose first byte has to come in time: on a busy machine it may be late itself, and would then be
    /// taken for a silent connection.
    private let patient = ServerLimits(
        headTimeLimit: .seconds(3),
        bodyTimeLimit: .seconds(3),
        idleTimeout: .seconds(30)
    )
    private let ready = Array(#"{"uid":"clip1","status":{"state":"ready"}}"#.utf8)

    /// On a busy machine a sender may be late itself, and is closed without a word as a silent one is: it comes again.
    /// The suite's time limit ends it.
    private func insistently(_ attempt: () async throws -> String) async throws -> String {
        while true {
            try Task.checkCancellation()
            if let text = try? await attempt(), !text.isEmpty { return text }
        }
    }

    /// Sends a byte again and again until the other side has answered and closed.
    private func drip(_ connection: RawConnection, _ text: String) async -> String {
        let outbound = connection.outbound
        return await withTaskGroup(of: Void.self) { group in
            group.addTask {
                let clock = ContinuousClock()
                for byte in text.utf8 {
                    guard (try? await outbound.write(ByteBuffer(bytes: [byte]))) != nil else { return }
                    guard (try? await clock.sleep(for: .milliseconds(20))) != nil else { return }
                }
            }
            let rest = await connection.rest()
            group.cancelAll()
            return rest
        }
    }

    @Test func drippingHeadIsEndedWithA408() async throws {
        var world = World()
        world.limits = patient
        let start = ContinuousClock.now
        let text = try await world.run { client in
            try await client.connect { connection in
                await drip(
                    connection,
                    "POST \(WebhookReceiver.path) HTTP/1.1\r\nX: " + String(repeating: "x", count: 2_000)
                )
            }
        }
        #expect(text.hasPrefix("HTTP/1.1 408 "))
        #expect(text.contains("request_timeout"))
        #expect(ContinuousClock.now - start < .seconds(30))
    }

    @Test func drippingBodyIsEndedWithA408() async throws {
        var world = World()
        world.limits = short
        let fixed = world
        let text = try await fixed.run { client in
            try await insistently {
                try await client.connect { connection in
                    let head = "POST \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\n"
                    try await connection.send(
                        "\(head)Webhook-Signature: \(fixed.signed([]))\r\nContent-Length: 2000\r\n\r\n"
                    )
                    return await drip(connection, String(repeating: "x", count: 2_000))
                }
            }
        }
        #expect(text.hasPrefix("HTTP/1.1 408 "))
        #expect(!text.contains("HTTP/1.1 401"))
        #expect(fixed.ledger.calls == 0)
    }

    @Test func silentConnectionIsClosedWithoutAWord() async throws {
        var world = World()
        world.limits = short
        let text = try await world.run { client in
            try await client.connect { connection in await connection.rest() }
        }
        #expect(text.isEmpty)
    }

    @Test func drippingHeadOfALaterRequestIsEndedToo() async throws {
        var world = World()
        world.limits = patient
        let fixed = world
        let text = try await fixed.run { client in
            try await client.connect { connection in
                let head =
                    "POST \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\nWebhook-Signature: \(fixed.signed(ready))\r\n"
                try await connection.send("\(head)Content-Length: \(ready.count)\r\n\r\n")
                try await connection.send(ready)
                let status = try await connection.answer().status
                #expect(status == 200)
                return await drip(connection, "POST / HTTP/1.1\r\nX: " + String(repeating: "x", count: 2_000))
            }
        }
        #expect(text.hasPrefix("HTTP/1.1 408 "))
    }

    @Test func connectionThatIsIdleBetweenRequestsIsClosed() async throws {
        var world = World()
        world.limits = short
        let text = try await world.run { client in
            try await insistently {
                try await client.connect { connection in
                    try await connection.send("GET \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\n\r\n")
                    let status = try await connection.answer().status
                    return "\(status), then \(await connection.rest())"
                }
            }
        }
        #expect(text == "405, then ")
    }

    @Test func connectionWithDeliveriesIsNotIdle() async throws {
        var world = World()
        world.limits = short
        let (signer, clock) = (world, ContinuousClock())
        let text = try await world.run { client in
            try await insistently {
                try await client.connect { connection in
                    var statuses: [Int] = []
                    for number in 0..<5 {
                        let body = Array(#"{"uid":"clip\#(number)","status":{"state":"ready"}}"#.utf8)
                        try await connection.send(
                            "POST \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\nWebhook-Signature: "
                                + "\(signer.signed(body))\r\nContent-Length: \(body.count)\r\n\r\n")
                        try await connection.send(body)
                        statuses.append(try await connection.answer().status)
                        // Its pace: all of them take longer than one may be idle.
                        try await clock.sleep(for: .milliseconds(250))
                    }
                    return "\(statuses), then \(await connection.rest())"
                }
            }
        }
        #expect(text == "[200, 200, 200, 200, 200], then ")
    }

    @Test func longAnswerOutlivesEveryLimit() async throws {
        let router = Router()
        router.get("/events") { _, _ in
            Response(
                status: .ok,
                body: ResponseBody { writer in
                    let clock = ContinuousClock()
                    for number in 0..<5 {
                        try await writer.write(ByteBuffer(string: "event \(number)\n"))
                        try await clock.sleep(for: .milliseconds(500))
                    }
                    try await writer.finish(nil)
                }
            )
        }
        let text = try await World(limits: short).serve(router) { client in
            try await insistently {
                try await client.connect { connection in
                    try await connection.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n")
                    return await connection.rest()
                }
            }
        }
        #expect(text.contains("event 4"))
        #expect(text.hasSuffix("0\r\n\r\n"))
    }

    @Test func answerThatNobodyTakesIsGivenUp() async throws {
        let end = Gate()
        let router = Router()
        router.get("/endless") { _, _ in
            Response(
                status: .ok,
                body: ResponseBody { writer in
                    defer { end.open() }
                    while true { try await writer.write(ByteBuffer(repeating: 0x78, count: 65_536)) }
                }
            )
        }
        let limits = ServerLimits(stallTimeLimit: .milliseconds(400))
        try await World(limits: limits).serve(router) { client in
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.autoRead, value: false)
                .connect(host: "127.0.0.1", port: client.port).get()
            try await channel.writeAndFlush(ByteBuffer(string: "GET /endless HTTP/1.1\r\nHost: h\r\n\r\n"))
            await end.wait()
            try? await channel.close()
        }
    }

    @Test func headThatIsTooLargeIsRefused() async throws {
        let world = World()
        let long = "X: " + String(repeating: "x", count: 17 << 10)
        let many = (0..<101).map { "X\($0): x" }.joined(separator: "\r\n")
        try await world.run { client in
            for fields in [long, many] {
                let text = try await client.connect { connection in
                    try await connection.send("GET / HTTP/1.1\r\nHost: h\r\n\(fields)\r\n\r\n")
                    return await connection.rest()
                }
                #expect(text.hasPrefix("HTTP/1.1 400 "))
            }
        }
    }

    /// All that is sent after the answer is taken in, far more than sockets hold, and so the end is heard of.
    @Test func senderOfFarTooMuchIsHeardOutAndLetGo() async throws {
        let world = World()
        try await world.run { client in
            let text = try await client.connect { connection in
                try await connection.send("GET / HTTP/1.1\r\nHost: h\r\nX: ")
                for _ in 0..<256 { try? await connection.send(Array(repeating: 0x78, count: 65_536)) }
                return await connection.rest()
            }
            #expect(text.hasPrefix("HTTP/1.1 400 "))
        }
    }

    @Test func pipelinedRequestsAreAllAnswered() async throws {
        let world = World()
        let statuses = try await world.run { client in
            try await client.connect { connection in
                let one =
                    "POST \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\nWebhook-Signature: \(world.signed(ready))\r\n"
                    + "Content-Length: \(ready.count)\r\n\r\n" + String(decoding: ready, as: UTF8.self)
                try await connection.send(String(repeating: one, count: 20))
                var statuses: [Int] = []
                for _ in 0..<20 { statuses.append(try await connection.answer().status) }
                return statuses
            }
        }
        #expect(statuses == Array(repeating: 200, count: 20))
    }

    @Test func connectionsBeyondTheCapWaitUntilOneCloses() async throws {
        var world = World()
        world.limits = ServerLimits(connectionsMax: 2)
        let request = "GET \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\n\r\n"
        try await world.run { client in
            let closed = NIOLockedValueBox(false)
            try await client.connect { first in
                try await first.send(request)
                _ = try await first.answer()
                let third = try await client.connect { second in
                    try await second.send(request)
                    _ = try await second.answer()
                    let third = Task {
                        try await client.connect { third in
                            try await third.send(request)
                            let status = try await third.answer().status
                            return (status, closed.withLockedValue { $0 })
                        }
                    }
                    // The first two are served while the third waits.
                    for _ in 0..<20 {
                        try await first.send(request)
                        _ = try await first.answer()
                        try await second.send(request)
                        _ = try await second.answer()
                    }
                    closed.withLockedValue { $0 = true }
                    return third
                }
                let (status, wasClosed) = try await third.value
                #expect(status == 405)
                #expect(wasClosed)
            }
        }
    }

    /// The oldest gives way although it sends a byte now and then; those that were answered lately stay.
    @Test func crowdOfSilentConnectionsKeepsNobodyOut() async throws {
        var world = World()
        world.limits = ServerLimits(headTimeLimit: .seconds(600), idleTimeout: .seconds(600), connectionsMax: 16)
        let request = "GET \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\n\r\n"
        try await world.run { client in
            try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<40 {
                    group.addTask {
                        try await client.connect { connection in
                            try? await connection.send("GET / HTTP/1.1\r\n")
                            return await connection.rest()
                        }
                    }
                }
                // 16 are held by senders that never finish, and the others were let in all the same.
                for _ in 0..<24 { #expect(try await group.next() == "") }
                for _ in 0..<20 {
                    let status = try await client.connect { connection in
                        try await connection.send(request)
                        return try await connection.answer().status
                    }
                    #expect(status == 405)
                }
                group.cancelAll()
            }
        }
    }

    @Test func requestThatIsBeingAnsweredKeepsItsPlace() async throws {
        let slow = SlowRoute()
        let limits = ServerLimits(connectionsMax: 16)
        try await World(limits: limits).serve(slow.router) { client in
            try await client.connect { connection in
                try await connection.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
                await slow.begun.wait()
                for _ in 0..<3 {
                    try await Self.withConnections(20, client) {}
                }
                slow.mayEnd.open()
                #expect(try await connection.answer().body == "slow")
            }
        }
    }

    /// Runs while so many connections are open, each of which was answered once.
    private static func withConnections(
        _ count: Int, _ client: RawClient, _ body: @Sendable () async throws -> Void
    ) async throws {
        if count == 0 { return try await body() }
        try await client.connect { connection in
            try await connection.send("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(try await connection.answer().body == "quick")
            try await withConnections(count - 1, client, body)
        }
    }
}
