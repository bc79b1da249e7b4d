// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CurlTransport
import FoundationEssentials
import HTTPTypes
import Logging
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP
import Testing

@testable import Sandbox

/// A sandbox that serves for the time of one test, with what is needed to talk to it.
struct TestSandbox: Sendable {
    let sandbox: Sandbox
    let settings: SandboxSettings
    let transport: CurlTransport
    let clock: any WallClock
    let folder: String

    /// Runs `body` beside a sandbox on a free port and a new folder, which both are gone afterwards.
    static func run(
        clock: any WallClock = SystemWallClock(),
        folder: String? = nil,
        transport: (any HTTPTransport)? = nil,
        _ configure: (inout SandboxConfiguration) -> Void = { _ in },
        _ body: @escaping @Sendable (TestSandbox) async throws -> Void
    ) async throws {
        let ownFolder = FileManager.default.temporaryDirectory.appending(
            path: "sandbox-\(UInt64.random(in: 0 ... .max))")
        defer { try? FileManager.default.removeItem(at: ownFolder) }
        let logger = Logger(label: "sandbox", factory: { _ in SwiftLogNoOpLogHandler() })
        let curl = try CurlTransport(configuration: .init(proxy: .none), logger: logger)
        var configuration = SandboxConfiguration(dataDirectory: folder ?? ownFolder.path())
        configuration.speed = 100
        configure(&configuration)
        let sandbox = try Sandbox(
            configuration: configuration, transport: transport ?? curl, clock: clock, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await sandbox.run() }
            let running = TestSandbox(
                sandbox: sandbox, settings: try await sandbox.settings, transport: curl, clock: clock,
                folder: configuration.dataDirectory)
            do {
                try await body(running)
            } catch {
                group.cancelAll()
                throw error
            }
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
        await curl.stop()
    }

    // MARK: Stream

    struct APIAnswer: Sendable {
        var status: Int
        var headers: HTTPFields
        var body: JSONValue

        var result: JSONValue { body.objectValue?["result"] ?? .null }
        subscript(name: String) -> JSONValue? { result.objectValue?[name] }
        var state: String? { self["status"]?.objectValue?["state"]?.stringValue }
        var errorCode: Int64? {
            guard case .array(let errors)? = body.objectValue?["errors"] else { return nil }
            return errors.first?.objectValue?["code"]?.integerValue
        }
    }

    /// A call below the account's `stream`.
    func api(
        _ method: HTTPRequest.Method, _ path: String = "", _ body: JSONValue? = nil, token: String? = nil
    ) async throws -> APIAnswer {
        var request = OutboundRequest(
            method: method, url: "\(settings.apiBase)/accounts/\(settings.accountID)/stream\(path)",
            headers: [.authorization: "Bearer \(token ?? settings.apiToken)"])
        if let body { request.body = .bytes(StreamAnswer.bytes(of: body)) }
        let response = try await transport.send(request)
        let json = try? JSONDecoder().decode(JSONValue.self, from: Data(response.body))
        return APIAnswer(status: response.status, headers: response.head.headers, body: json ?? .null)
    }

    /// A new video's uid.
    func copy(_ url: String = "sample:1000", _ members: [String: JSONValue] = [:]) async throws -> String {
        let answer = try await api(.post, "/copy", .object(members.merging(["url": .string(url)]) { $1 }))
        return try #require(answer["uid"]?.stringValue)
    }

    /// Waits for a state, at most thirty seconds of real time.
    @discardableResult
    func video(_ uid: String, reaches state: String) async throws -> APIAnswer {
        try await until {
            try await api(.get, "/\(uid)")
        } holds: {
            $0.state == state
        }
    }

    /// Asks for the MP4 of a ready video and waits for it.
    func mp4(_ uid: String) async throws -> String {
        _ = try await api(.post, "/\(uid)/downloads")
        let answer = try await until {
            try await api(.get, "/\(uid)/downloads")
        } holds: { answer in
            answer["default"]?.objectValue?["status"] == "ready"
        }
        return try #require(answer["default"]?.objectValue?["url"]?.stringValue)
    }

    func get(
        _ url: String, _ method: HTTPRequest.Method = .get, headers: HTTPFields = [:]
    ) async throws -> OutboundResponse {
        try await transport.send(
            OutboundRequest(method: method, url: url, headers: headers, sink: .memory(bytesMax: 64 << 20)))
    }

    // MARK: S3

    /// A signed call; the path begins with the slash behind the bucket.
    func s3(
        _ method: HTTPRequest.Method, _ path: String = "", _ body: [UInt8]? = nil, headers: HTTPFields = [:],
        payloadHash: String? = nil, time: Timestamp? = nil, secret: String? = nil
    ) async throws -> OutboundResponse {
        let url = "\(settings.origin)/\(settings.bucket)\(path)"
        let signer = RequestSigner(
            credentials: StorageCredentials(
                accessKeyID: settings.accessKeyID, secretAccessKey: secret ?? settings.secretAccessKey),
            region: "auto")
        let hash = payloadHash ?? hexadecimal(FileIntake.digest(of: body ?? []).sha256)
        let signed = signer.signedHeaders(
            method: method, url: url, headers: headers, payloadHash: hash, time: time ?? clock.now())
        return try await transport.send(
            OutboundRequest(
                method: method, url: url, headers: signed, body: body.map(OutboundBody.bytes) ?? .none,
                sink: .memory(bytesMax: 64 << 20)))
    }
}

extension OutboundResponse {
    var text: String { String(decoding: body, as: UTF8.self) }

    /// Of an S3 error.
    var s3Code: String? { between("<Code>", "</Code>") }

    func between(_ start: String, _ end: String) -> String? {
        guard let from = text.firstRange(of: start)?.upperBound,
            let to = text[from...].firstRange(of: end)?.lowerBound
        else { return nil }
        return String(text[from..<to])
    }
}

/// Reads again and again until something holds; throws after thirty seconds.
func until<Value>(
    _ read: () async throws -> Value, holds: (Value) -> Bool
) async throws -> Value {
    let clock = ContinuousClock()
    let end = clock.now + .seconds(30)
    while true {
        let value = try await read()
        if holds(value) { return value }
        try #require(clock.now < end, "thirty seconds have passed and it is still \(value)")
        await Task.yield()
    }
}

/// Time that stands still until the test moves it.
final class StandingClock: WallClock {
    private struct State {
        var now: Timestamp
        var sleepers: [(id: UInt64, until: Timestamp, wake: CheckedContinuation<Bool, Never>)] = []
        var cancelled: Set<UInt64> = []
        var lastID: UInt64 = 0
    }

    private let state = NIOLockedValueBox(State(now: Timestamp(seconds: 1_700_000_000)))

    func now() -> Timestamp { state.withLockedValue { $0.now } }

    var sleeperCount: Int { state.withLockedValue { $0.sleepers.count } }

    func advance(by duration: Duration) {
        let woken = state.withLockedValue { state in
            state.now = state.now + duration
            let woken = state.sleepers.filter { $0.until <= state.now }
            state.sleepers.removeAll { $0.until <= state.now }
            return woken
        }
        for sleeper in woken { sleeper.wake.resume(returning: true) }
    }

    func sleep(for duration: Duration) async throws {
        let id = state.withLockedValue { state in
            state.lastID += 1
            return state.lastID
        }
        let isWoken = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLockedValue { state in
                    if state.cancelled.contains(id) { return true }
                    state.sleepers.append((id, state.now + duration, continuation))
                    return false
                }
                if isOver { continuation.resume(returning: false) }
            }
        } onCancel: {
            let sleeper = state.withLockedValue { state in
                state.cancelled.insert(id)
                let index = state.sleepers.firstIndex { $0.id == id }
                return index.map { state.sleepers.remove(at: $0) }
            }
            sleeper?.wake.resume(returning: false)
        }
        if !isWoken { throw CancellationError() }
    }
}
