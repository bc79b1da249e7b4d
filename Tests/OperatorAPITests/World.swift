// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOConcurrencyHelpers
import NIOCore
import OperatorAPI
import Testing

/// The API over a memory store, with what it has done by others scripted.
struct World: Sendable {
    static let token = "let me in"

    let store = MemoryClipStore()
    let clock = MockClock()
    let events: EventFeed<MemoryClipStore>
    let policy: LifecyclePolicy
    /// What Cloudflare says of any video.
    let video = NIOLockedValueBox<ActionOutcome>(.observed(Observation(status: .processing)))
    let questions = NIOLockedValueBox(0)
    let wakes = NIOLockedValueBox(0)
    let registry = PrometheusRegistry()
    /// In the place of the store's own answer.
    private let storeFacts: (@Sendable () async throws -> StoreFacts)?
    private let adminToken: String?

    init(
        policy: LifecyclePolicy = LifecyclePolicy(), adminToken: String? = World.token,
        eventLimits: EventLimits = EventLimits(),
        storeFacts: (@Sendable () async throws -> StoreFacts)? = nil
    ) {
        self.events = EventFeed(store: store, limits: eventLimits, clock: clock, logger: Self.logger)
        self.policy = policy
        self.storeFacts = storeFacts
        self.adminToken = adminToken
    }

    static var logger: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

    private func script() -> LedgerScript { LedgerScript(policy: policy, now: clock.now()) }

    private var api: OperatorAPI<MemoryClipStore> {
        let actions = OperatorActions(
            submit: { signal in try await submit(signal, registers: false) },
            register: { signal in try await submit(signal, registers: true) },
            wake: { wakes.withLockedValue { $0 += 1 } },
            checkVideo: { _ in
                questions.withLockedValue { $0 += 1 }
                return video.withLockedValue { $0 }
            },
            interpret: { body in
                let words = String(decoding: body, as: UTF8.self).split(separator: " ")
                guard words.count == 2, let uid = ClipUID(words[0]), let status = ClipStatus(rawValue: String(words[1]))
                else { return (.malformed, nil) }
                return (.accepted, Signal(uid: uid, source: .webhook, status: status))
            })
        let metrics = MetricsPage(version: "1.2.3", health: health)
        return OperatorAPI(
            store: store, actions: actions, events: events, policy: policy, metrics: metrics, adminToken: adminToken,
            clock: clock)
    }

    var health: HealthReader {
        HealthReader(
            registry: registry,
            storeFacts: {
                if let storeFacts { return try await storeFacts() }
                return try await StoreFacts(of: store, clock: clock)
            },
            spool: .init(bytesMax: 99, bytesUsed: { 42 }), clock: clock)
    }

    /// Serves the API to `body` without a socket.
    func serve(_ body: @Sendable (Client) async throws -> Void) async throws {
        let router = Router(context: BasicRequestContext.self)
        router.add(middleware: AuthorityMiddleware())
        api.addRoutes(to: router)
        let app = Application(router: router, logger: Self.logger)
        try await app.test(.router) { client in
            try await body(Client(client: client, token: adminToken))
        }
    }

    // MARK: Clips

    @discardableResult
    func submit(_ signal: Signal, registers: Bool = true) async throws -> LedgerEntry {
        let script = script()
        return try await store.write { try script.submit(signal, registers: registers, in: $0).entry }
    }

    func register(_ uid: ClipUID, _ status: ClipStatus, _ details: Details = [:]) async throws {
        try await submit(Signal(uid: uid, source: .operator, status: status, details: details))
    }

    func fail(_ uid: ClipUID, from status: ClipStatus) async throws {
        try await register(uid, status)
        try await submit(
            Signal(
                uid: uid, source: .pipeline, status: .error,
                details: ["error_code": "no_bucket", "error_message": "there is no bucket \"x\""]))
    }

    func lease(_ uid: ClipUID) async throws {
        let script = script()
        _ = try await store.write {
            try script.claim(Action.allCases, owner: "one", lease: .seconds(15), limit: 10, in: $0)
        }
    }

    func deliver(_ uid: ClipUID, _ status: ClipStatus, at time: Duration = .zero) async throws -> String {
        let body = "\(uid) \(status.rawValue)"
        let delivery = NewDelivery(
            receivedAt: clock.now() + time, signedAt: clock.now(), signatureHeader: "time=1,sig1=00",
            body: Array(body.utf8), bodySHA256: Array(body.utf8), uid: uid, outcome: .accepted,
            signal: Signal(uid: uid, source: .webhook, status: status))
        guard case .stored(let id) = try await store.record(delivery) else { return "" }
        return id
    }

    func work(_ uid: ClipUID) async throws -> Work? { try await store.read { $0.work(of: uid) } }
}

func uid(_ number: Int) -> ClipUID {
    let digits = String(number)
    return ClipUID(String(repeating: "0", count: 32 - digits.count) + digits)!
}

/// The test framework has no way to say which host is asked for.
private struct AuthorityMiddleware: RouterMiddleware {
    @concurrent func handle(
        _ request: Request, context: BasicRequestContext,
        next: @concurrent (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        guard let authority = request.headers[.testAuthority] else { return try await next(request, context) }
        var head = request.head
        head.authority = authority.isEmpty ? nil : authority
        return try await next(Request(head: head, body: request.body), context)
    }
}

extension HTTPField.Name {
    static let testAuthority = HTTPField.Name("X-Test-Authority")!
    static let secFetchSite = HTTPField.Name("Sec-Fetch-Site")!
}

/// Asks as an operator does.
struct Client: Sendable {
    let client: any TestClientProtocol
    let token: String?

    struct Answer: Sendable {
        var status: Int
        var headers: HTTPFields
        var text: String
        var json: JSONValue

        subscript(_ key: String) -> JSONValue? { json.objectValue?[key] }

        func array(_ key: String) -> [JSONValue] { if case .array(let array)? = self[key] { array } else { [] } }
    }

    func get(_ uri: String, headers: HTTPFields = [:]) async throws -> Answer {
        try await send(.get, uri, headers: headers)
    }

    func post(_ uri: String, _ body: JSONValue? = nil, headers: HTTPFields = [:]) async throws -> Answer {
        try await send(
            .post, uri, body.map { String(decoding: try JSONEncoder().encode($0), as: UTF8.self) }, headers: headers)
    }

    func send(
        _ method: HTTPRequest.Method, _ uri: String, _ body: String? = nil, headers: HTTPFields = [:]
    ) async throws -> Answer {
        var all = headers
        if let token, all[.authorization] == nil { all[.authorization] = "Bearer \(token)" }
        return try await client.execute(
            uri: uri, method: method, headers: all, body: body.map { ByteBuffer(string: $0) }
        ) { response in
            let bytes = Data(response.body.readableBytesView)
            return Answer(
                status: response.status.code, headers: response.headers,
                text: String(decoding: bytes, as: UTF8.self),
                json: (try? JSONDecoder().decode(JSONValue.self, from: bytes)) ?? .null)
        }
    }

    /// The answer is a problem with this status, shaped as the contract says; gives its detail.
    @discardableResult
    func expectProblem(
        _ answer: Answer, _ status: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) -> String {
        #expect(answer.status == status, sourceLocation: sourceLocation)
        #expect(answer.headers[.contentType] == "application/problem+json", sourceLocation: sourceLocation)
        #expect(answer["status"] == .integer(Int64(status)), sourceLocation: sourceLocation)
        #expect(answer["type"] == "about:blank", sourceLocation: sourceLocation)
        #expect(answer["title"]?.stringValue?.isEmpty == false, sourceLocation: sourceLocation)
        #expect(answer["detail"] == answer["message"], sourceLocation: sourceLocation)
        let detail = answer["detail"]?.stringValue ?? ""
        #expect(!detail.isEmpty, sourceLocation: sourceLocation)
        return detail
    }
}
