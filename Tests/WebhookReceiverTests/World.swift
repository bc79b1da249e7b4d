// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Hummingbird
import Logging
import MetricsTestKit
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import ServiceLifecycle
import WebhookReceiver

/// Lets those who wait pass once it is open.
final class Gate: Sendable {
    private let state = NIOLockedValueBox<(isOpen: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLockedValue { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLockedValue { state in
            defer { state = (true, []) }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// Waits for a condition; the suite's time limit ends it by cancelling the test.
func until(_ condition: () -> Bool) async throws {
    while !condition() {
        try Task.checkCancellation()
        await Task.yield()
    }
}

/// Remembers deliveries; it can be told to fail or to hold them.
final class MemoryLedger: DeliveryLedger {
    struct Away: Error {}

    struct State {
        var deliveries: [NewDelivery] = []
        var ids: [[UInt8]: String] = [:]
        var isAway = false
        var gate: Gate?
        var calls = 0
    }

    let state = NIOLockedValueBox(State())

    var deliveries: [NewDelivery] { state.withLockedValue { $0.deliveries } }
    var calls: Int { state.withLockedValue { $0.calls } }

    func setAway(_ isAway: Bool) { state.withLockedValue { $0.isAway = isAway } }
    func hold(at gate: Gate) { state.withLockedValue { $0.gate = gate } }

    func record(
        _ delivery: NewDelivery, onEnd: @escaping @Sendable (Result<DeliveryReceipt, any Error>) -> Void
    ) {
        Task {
            do { onEnd(.success(try await store(delivery))) } catch { onEnd(.failure(error)) }
        }
    }

    private func store(_ delivery: NewDelivery) async throws -> DeliveryReceipt {
        let gate = state.withLockedValue { state in
            state.calls += 1
            return state.gate
        }
        await gate?.wait()
        return try state.withLockedValue { state in
            if state.isAway { throw Away() }
            if let first = state.ids[delivery.bodySHA256] { return .duplicate(of: first) }
            state.deliveries.append(delivery)
            let id = "d\(state.deliveries.count)"
            state.ids[delivery.bodySHA256] = id
            return .stored(id: id)
        }
    }
}

/// A clock that stands still. Who sleeps either passes at once or sleeps until the task is cancelled.
struct StillClock: WallClock {
    var time = Timestamp(seconds: 1_800_000_000)
    var sleepPassesAtOnce = false

    func now() -> Timestamp { time }

    func sleep(for duration: Duration) async throws {
        guard !sleepPassesAtOnce else { return }
        // Nothing is ever yielded: it ends with the task.
        let (stream, continuation) = AsyncStream<Void>.makeStream()
        for await _ in stream {}
        withExtendedLifetime(continuation) {}
        throw CancellationError()
    }
}

/// A clock that somebody sets back during the first sleep, which begins when the test lets it.
final class ClockSetBack: WallClock {
    let mayBegin = Gate()
    private let state = NIOLockedValueBox<(now: Timestamp, slept: [Duration])>((StillClock().time, []))

    /// For how long, each time.
    var slept: [Duration] { state.withLockedValue { $0.slept } }

    func now() -> Timestamp { state.withLockedValue { $0.now } }

    func sleep(for duration: Duration) async throws {
        await mayBegin.wait()
        state.withLockedValue { state in
            state.now = state.now + (state.slept.isEmpty ? .seconds(-5) : duration)
            state.slept.append(duration)
        }
    }
}

/// `/slow`, whose answer waits for the test, and `/quick`.
struct SlowRoute: Sendable {
    let begun = Gate()
    let mayEnd = Gate()

    var router: Router<BasicRequestContext> {
        let router = Router()
        router.get("/slow") { _, _ in
            begun.open()
            await mayEnd.wait()
            return "slow"
        }
        router.get("/quick") { _, _ in "quick" }
        return router
    }
}

/// A receiver of its own for each test, behind a real server.
struct World: Sendable {
    static let secret = "85011ed3a913c6ad5f9cf6c5573cc0a7"

    let ledger = MemoryLedger()
    let metrics = TestMetrics()
    private let wakes = NIOLockedValueBox(0)
    var clock = StillClock()
    var configuration = WebhookReceiver.Configuration(secrets: WebhookSecrets([Self.secret]))
    var limits = ServerLimits()

    /// How often `onStored` ran.
    var wakeCount: Int { wakes.withLockedValue { $0 } }

    func run<Value: Sendable>(_ test: @Sendable (RawClient) async throws -> Value) async throws -> Value {
        try await serve(Router(), test)
    }

    static var logger: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }

    func serve<Value: Sendable>(
        _ router: Router<BasicRequestContext>,
        _ test: @Sendable (RawClient) async throws -> Value
    ) async throws -> Value {
        try await serve(router) { client, _ in try await test(client) }
    }

    /// - Parameter test: may have the server end in order.
    func serve<Value: Sendable>(
        _ router: Router<BasicRequestContext>,
        _ test: @Sendable (RawClient, _ shutDown: @Sendable () async -> Void) async throws -> Value
    ) async throws -> Value {
        let wakes = wakes
        let receiver = WebhookReceiver(
            configuration: configuration,
            ledger: ledger,
            clock: clock,
            logger: Self.logger,
            metrics: metrics,
            onStored: { wakes.withLockedValue { $0 += 1 } }
        )
        receiver.addRoutes(to: router)
        let server = BridgeServer(limits: limits, receiver: receiver)
        let (ports, announce) = AsyncStream<Int>.makeStream()
        let application = Application(
            router: router,
            server: server.builder,
            configuration: server.configuration(address: .hostname("127.0.0.1", port: 0), logger: Self.logger),
            onServerRunning: {
                await server.begin(on: $0)
                announce.yield($0.localAddress?.port ?? 0)
            },
            logger: Self.logger
        )
        let services = ServiceGroup(services: [application], logger: Self.logger)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { announce.finish() }
                try await services.run()
            }
            var iterator = ports.makeAsyncIterator()
            let port = await iterator.next() ?? 0
            defer { group.cancelAll() }
            return try await test(RawClient(port: port)) { await services.triggerGracefulShutdown() }
        }
    }

    /// A signed request as bytes.
    func signed(_ body: [UInt8], secret: String = Self.secret, age: Int64 = 0) -> String {
        let time = Timestamp(seconds: clock.time.seconds - age)
        return WebhookVerifier.sign(secret: secret, time: time, body: body)
    }
}

/// One HTTP answer as it came.
struct RawAnswer: Sendable, Equatable {
    var status: Int
    var head: String
    var body: String

    func header(_ name: String) -> String? {
        for line in head.split(separator: "\r\n") {
            let pair = line.split(separator: ":", maxSplits: 1)
            if pair.count == 2, pair[0].lowercased() == name.lowercased() { return String(pair[1].trimmingPrefix(" ")) }
        }
        return nil
    }
}

/// Opens connections on which bytes are sent as the test says.
struct RawClient: Sendable {
    var port: Int

    func connect<Value: Sendable>(_ use: @Sendable (RawConnection) async throws -> Value) async throws -> Value {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            let (arrivals, arrived) = AsyncStream<ByteBuffer>.makeStream()
            return try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    defer { arrived.finish() }
                    for try await buffer in inbound { arrived.yield(buffer) }
                }
                defer { group.cancelAll() }
                return try await use(RawConnection(arrivals: arrivals, outbound: outbound))
            }
        }
    }

    func post(_ body: [UInt8], signature: String?, extra: String = "") async throws -> RawAnswer {
        try await connect { connection in
            let header = signature.map { "Webhook-Signature: \($0)\r\n" } ?? ""
            try await connection.send(
                "POST \(WebhookReceiver.path) HTTP/1.1\r\nHost: h\r\n\(header)\(extra)"
                    + "Content-Length: \(body.count)\r\n\r\n"
            )
            try await connection.send(body)
            return try await connection.answer()
        }
    }
}

struct RawConnection: Sendable {
    let arrivals: AsyncStream<ByteBuffer>
    let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private let received = NIOLockedValueBox(ByteBuffer())

    init(arrivals: AsyncStream<ByteBuffer>, outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>) {
        self.arrivals = arrivals
        self.outbound = outbound
    }

    struct Closed: Error {}

    func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }
    func send(_ bytes: [UInt8]) async throws { try await outbound.write(ByteBuffer(bytes: bytes)) }

    /// The next answer; `Closed` when the connection ends before it is complete.
    func answer() async throws -> RawAnswer {
        if let answer = parse() { return answer }
        for await more in arrivals {
            received.withLockedValue { _ = $0.writeImmutableBuffer(more) }
            if let answer = parse() { return answer }
        }
        throw Closed()
    }

    /// Everything until the other side closes.
    func rest() async -> String {
        for await more in arrivals { received.withLockedValue { _ = $0.writeImmutableBuffer(more) } }
        return received.withLockedValue { String(buffer: $0) }
    }

    private func parse() -> RawAnswer? {
        received.withLockedValue { received in
            let text = String(decoding: received.readableBytesView, as: UTF8.self)
            guard let end = text.firstRange(of: "\r\n\r\n") else { return nil }
            let head = String(text[..<end.lowerBound])
            var answer = RawAnswer(status: Int(head.split(separator: " ")[1]) ?? 0, head: head, body: "")
            let length = answer.header("Content-Length").flatMap(Int.init) ?? 0
            let headBytes = text[..<end.upperBound].utf8.count
            guard received.readableBytes >= headBytes + length else { return nil }
            received.moveReaderIndex(forwardBy: headBytes)
            answer.body = received.readString(length: length) ?? ""
            return answer
        }
    }
}
