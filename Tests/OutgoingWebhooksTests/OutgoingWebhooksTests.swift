// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import HTTPTypes
import Logging
import OutboundHTTP
import OutgoingWebhooks
import ServiceLifecycle
import Testing

@Suite(.timeLimit(.minutes(1))) struct OutgoingWebhooksTests {
    /// One target, a memory store and a receiver that is a closure.
    private struct World {
        let store = MemoryClipStore()
        let clock = MockClock()
        let target: OutgoingTarget
        let transport: FakeTransport
        let service: OutgoingWebhooks<MemoryClipStore>

        init(kind: OutgoingTarget.Kind = .status, _ answer: @escaping FakeTransport.Answer) throws {
            let hosts = try #require(NamedHosts([]))
            target = try #require(OutgoingTarget("https://receiver.example/hook", kind: kind, namedHosts: hosts))
            transport = FakeTransport(answer)
            service = OutgoingWebhooks(
                store: store, transport: transport, targets: [target],
                signer: MessageSigner(secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]), owner: "test", clock: clock,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        }

        func submit(_ uid: String, _ status: ClipStatus) async throws {
            let script = LedgerScript(policy: LifecyclePolicy(), now: clock.now(), notifyTargets: [target.id])
            let signal = Signal(uid: try #require(ClipUID(uid)), source: .operator, status: status)
            _ = try await store.write { try script.submit(signal, registers: true, in: $0) }
            service.wake()
        }

        var waiting: [OutboxMessage] {
            get async throws { try await store.read { $0.messages(after: 0, limit: 100) } }
        }

        /// Runs the service while `body` runs, and ends it as a process is ended.
        func serving(_ body: () async throws -> Void) async throws {
            let group = ServiceGroup(
                configuration: .init(
                    services: [.init(service: service)],
                    logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
            let running = Task { try await group.run() }
            defer { running.cancel() }
            try await body()
            await group.triggerGracefulShutdown()
            try await running.value
        }
    }

    private static func answer(_ status: Int) -> OutboundResponse {
        OutboundResponse(head: ResponseHead(status: status, contentLength: 0))
    }

    private static func statuses(_ world: World) -> [String] {
        world.transport.requests.map { request in
            guard case .bytes(let body) = request.body else { return "" }
            let whole = DetailsText.decodeObject(String(decoding: body, as: UTF8.self))
            return whole["data"]?.objectValue?["status"]?.stringValue ?? ""
        }
    }

    @Test func messagesOfAClipAreSentInTheirOrder() async throws {
        let world = try World { _ in Self.answer(200) }
        for status in [ClipStatus.uploading, .queued, .streamReady] { try await world.submit("a", status) }
        try await world.serving {
            try await eventually { try await world.waiting.isEmpty }
        }
        #expect(Self.statuses(world) == ["uploading", "queued", "stream_ready"])
        let request = try #require(world.transport.requests.first)
        #expect(request.method == .post && request.addressPolicy == .publicOnly)
        #expect(request.url == "https://receiver.example/hook")
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        #expect(names.allSatisfy { request.headers[HTTPField.Name($0)!]?.isEmpty == false })
    }

    @Test(arguments: [302, 400, 500]) func failedMessageWaitsAndIsTheSameAgain(status: Int) async throws {
        let world = try World { _ in Self.answer(status) }
        try await world.submit("a", .uploading)
        try await world.serving {
            try await eventually { try await world.waiting.first?.attempt == 1 }
            try await eventually {
                world.clock.advance(by: .milliseconds(100))
                return try await world.waiting.first?.attempt == 3
            }
        }
        let ids = Set(world.transport.requests.map { $0.headers[HTTPField.Name("webhook-id")!] })
        #expect(ids.count == 1)
    }

    @Test func messageIsGivenUpAfterThreeDays() async throws {
        let world = try World { _ in Self.answer(500) }
        try await world.submit("a", .uploading)
        world.clock.advance(by: .seconds(3 * 86_400))
        try await world.serving {
            try await eventually { try await world.waiting.isEmpty }
        }
        #expect(world.transport.requests.count == 1)
    }

    @Test func goneReceiverIsSentNothingMore() async throws {
        let world = try World { _ in Self.answer(410) }
        try await world.submit("a", .uploading)
        try await world.serving {
            try await eventually {
                try await world.waiting.first.map { $0.lease == nil } ?? false
                    && !world.transport.requests.isEmpty
            }
            try await world.submit("b", .uploading)
            world.clock.advance(by: .seconds(1_000))
        }
        #expect(world.transport.requests.count == 1)
        #expect(try await world.waiting.map(\.attempt) == [0, 0])
    }

    @Test func endOfTheProcessIsNoAttempt() async throws {
        let gate = Gate()
        let world = try World { _ throws(TransferError) in
            await gate.wait()
            throw TransferError(code: .cancelled, message: "the request was cancelled")
        }
        try await world.submit("a", .uploading)
        let clock = world.clock
        // The service waits a while for what is on its way.
        let time = Task { while !Task.isCancelled { clock.advance(by: .milliseconds(10)); await Task.yield() } }
        defer { time.cancel() }
        try await world.serving {
            await eventually { !world.transport.requests.isEmpty }
        }
        let message = try #require(try await world.waiting.first)
        #expect(message.attempt == 0 && message.lease == nil && message.dueAt <= clock.now())
    }

    @Test func deliveryIsPassedOnAsItCame() async throws {
        let world = try World(kind: .delivery) { _ in Self.answer(204) }
        let body: [UInt8] = Array(0...255)
        let ledger = ForwardingLedger(ledger: world.store, targets: [world.target.id]) { world.service.wake() }
        let delivery = NewDelivery(
            receivedAt: world.clock.now(), signedAt: world.clock.now(), signatureHeader: "time=1,sig1=00", body: body,
            bodySHA256: [1], uid: nil, outcome: .malformed, signal: nil)
        try await world.serving {
            for _ in 0..<2 { _ = try await ledger.record(delivery) }
            try await eventually { try await world.waiting.isEmpty }
        }
        #expect(world.transport.requests.count == 1)
        let request = try #require(world.transport.requests.first)
        guard case .bytes(let sent) = request.body else {
            Issue.record("no bytes were sent")
            return
        }
        #expect(sent == body)
        #expect(request.headers[HTTPField.Name("Webhook-Signature")!] == "time=1,sig1=00")
        #expect(request.headers[HTTPField.Name("Clipbridge-Signature")!]?.hasPrefix("v1,") == true)
    }
}
