// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import CloudflareStream
import CurlTransport
import Foundation
import HTTPTypes
import Logging
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP
import Pipeline
import Sandbox
import Testing

/// A sandbox on real sockets and a pipeline that is pointed at it.
struct TransferWorld: Sendable {
    /// Lets a test in before each request goes out, to wait for something or to change the request.
    typealias Hook = @Sendable (TransferWorld, inout OutboundRequest) async -> Void

    let sandbox: Sandbox
    let settings: SandboxSettings
    let curl: CurlTransport
    let folder: Folder
    let storage: S3Client
    let reporter = MemoryReporter()
    private let clock: any WallClock
    private let logger: Logger
    private let hosts: [String]
    private let watched: WatchedTransport
    private(set) var spool: Spool
    private(set) var pipeline: Pipeline

    /// Runs `body` beside a sandbox, which is gone afterwards.
    /// - Parameter hosts: may be downloaded from, beside the sandbox.
    static func run(
        _ faults: [String] = [], hosts: [String] = [], spoolBytesMax: UInt64 = 1 << 30, bucket: String? = nil,
        secret: String? = nil, clock: any WallClock = SystemWallClock(), logger: Logger = silent,
        before: @escaping Hook = { _, _ in }, _ body: @escaping @Sendable (TransferWorld) async throws -> Void
    ) async throws {
        let folder = try Folder()
        let curl = try CurlTransport(configuration: .init(proxy: .none), logger: logger)
        let configuration = SandboxConfiguration(
            dataDirectory: "\(folder.path)/sandbox", speed: 1_000,
            faults: try faults.map { try FaultSpec(parsing: $0) })
        let sandbox = try Sandbox(configuration: configuration, transport: curl, clock: clock, logger: silent)
        let watched = WatchedTransport(curl, before)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await sandbox.run() }
            defer {
                watched.world = nil
                group.cancelAll()
            }
            let settings = try await sandbox.settings
            let storage = S3Client(
                configuration: S3Configuration(
                    endpoint: settings.origin, bucket: bucket ?? settings.bucket,
                    credentials: StorageCredentials(
                        accessKeyID: settings.accessKeyID, secretAccessKey: secret ?? settings.secretAccessKey)),
                transport: curl, clock: clock)
            let world = try TransferWorld(
                sandbox: sandbox, settings: settings, curl: curl, folder: folder, storage: storage, clock: clock,
                logger: logger, hosts: hosts + ["127.0.0.1:\(settings.port)"], watched: watched,
                spool: Spool(folder: "\(folder.path)/spool", bytesMax: spoolBytesMax))
            watched.world = world
            try await body(world)
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
        await curl.stop()
    }

    /// Runs `body` with a clip whose MP4 is at a host that does as the script says; API and R2 are the sandbox's.
    static func withMediaHost(
        faults: [String] = [], _ script: @escaping MediaHost.Script, before: @escaping Hook = { _, _ in },
        _ body: @escaping @Sendable (TransferWorld, MediaHost, ActionRequest) async throws -> Void
    ) async throws {
        try await MediaHost.serve(script) { host in
            try await run(faults, hosts: [host.authority], before: before) { world in
                try await body(world, host, try await world.ready(at: host.url))
            }
        }
    }

    private init(
        sandbox: Sandbox, settings: SandboxSettings, curl: CurlTransport, folder: Folder, storage: S3Client,
        clock: any WallClock, logger: Logger, hosts: [String], watched: WatchedTransport, spool: Spool
    ) throws {
        (self.sandbox, self.settings, self.curl, self.folder) = (sandbox, settings, curl, folder)
        (self.storage, self.clock, self.logger) = (storage, clock, logger)
        (self.hosts, self.watched, self.spool) = (hosts, watched, spool)
        try spool.prepare()
        pipeline = Pipeline(
            stream: StreamClient(
                transport: watched, baseURL: settings.apiBase, accountID: settings.accountID, token: settings.apiToken,
                budget: FreeBudget(), clock: clock, logger: logger),
            storage: S3Client(configuration: storage.configuration, transport: watched, clock: clock),
            transport: watched, spool: spool,
            settings: TransferSettings(
                downloadHosts: try DownloadHosts(hosts), publicURL: settings.publicURL, partBytes: 5 << 20, partsMax: 2),
            clock: clock, logger: logger)
    }

    /// The same ledger, but a pipeline with a spool of its own.
    func onAnotherMachine() throws -> TransferWorld {
        let other = try TransferWorld(
            sandbox: sandbox, settings: settings, curl: curl, folder: folder, storage: storage, clock: clock,
            logger: logger, hosts: hosts, watched: watched,
            spool: Spool(folder: "\(folder.path)/other", bytesMax: 1 << 30))
        var here = self
        (here.spool, here.pipeline) = (other.spool, other.pipeline)
        return here
    }

    // MARK: Stream

    func api(_ method: HTTPRequest.Method, _ path: String, _ body: JSONValue) async throws -> JSONValue {
        let response = try await curl.send(
            OutboundRequest(
                method: method, url: "\(settings.apiBase)/accounts/\(settings.accountID)/stream\(path)",
                headers: [.authorization: "Bearer \(settings.apiToken)", .contentType: "application/json"],
                body: .bytes(Array(try JSONEncoder().encode(body)))))
        let answer = try JSONDecoder().decode(JSONValue.self, from: Data(response.body))
        return answer.objectValue?["result"] ?? .null
    }

    func copy(_ bytes: Int, _ members: [String: JSONValue] = [:]) async throws -> ClipUID {
        let result = try await api(.post, "/copy", .object(members.merging(["url": .string("sample:\(bytes)")]) { $1 }))
        return try #require(result.objectValue?["uid"]?.stringValue.flatMap { ClipUID($0) })
    }

    /// Performs the action until it observes the status.
    func observe(_ uid: ClipUID, _ action: Action, _ status: ClipStatus, until wanted: ClipStatus) async throws
        -> Observation
    {
        let found = NIOLockedValueBox<Observation?>(nil)
        await eventually {
            let outcome = await perform(request(uid, action, status))
            if outcome.observation?.status == wanted { found.withLockedValue { $0 = outcome.observation } }
            return outcome.observation?.status == wanted
        }
        return try #require(found.withLockedValue { $0 })
    }

    /// A clip whose MP4 is ready, as the request to move it.
    func ready(_ bytes: Int, _ members: [String: JSONValue] = [:]) async throws -> ActionRequest {
        let uid = try await copy(bytes, members)
        _ = try await observe(uid, .checkVideo, .queued, until: .streamReady)
        _ = await perform(request(uid, .requestMP4, .streamReady))
        let mp4 = try await observe(uid, .checkMP4, .waitForMP4, until: .mp4Downloading)
        return request(uid, .transfer, .mp4Downloading, mp4.details)
    }

    /// A clip whose MP4 is said to be somewhere else.
    func ready(at url: String) async throws -> ActionRequest {
        var transfer = try await ready(1_000)
        transfer.details[.mp4DownloadURL] = .string(url)
        return transfer
    }

    // MARK: Actions

    func perform(_ request: ActionRequest, reporter: MemoryReporter? = nil) async -> ActionOutcome {
        await pipeline.perform([request], reporter: reporter ?? self.reporter)[request.uid] ?? .abandoned
    }

    /// A second try, as the planner would make it.
    func performAgain(_ request: ActionRequest) async -> ActionOutcome {
        var again = request
        again.work.attempt = 1
        again.status = reporter.statuses.last ?? request.status
        return await perform(again)
    }

    /// Stops the transfer, as the end of its process would, once R2 has these parts, the others being held back, and the
    /// spool so many bytes.
    func perform(_ request: ActionRequest, untilStored parts: Set<Int>, held bytes: Int = 0) async {
        let task = Task { await perform(request) }
        await eventually {
            let stored = reporter.record?.parts.filter { !$0.etag.isEmpty }.map(\.number)
            return stored.map(Set.init) == parts && spool.size(of: request.uid) >= bytes
        }
        task.cancel()
        #expect(await task.value == .abandoned)
    }

    // MARK: What went out

    /// All requests of the pipeline so far.
    var sent: [SentRequest] { watched.sent }
    /// Those for the MP4.
    var fetches: [SentRequest] { sent.filter(\.isFetch) }

    func puts(ofPart number: Int) -> [SentRequest] { sent.filter { $0.partNumber == number } }

    func downloads(of request: ActionRequest) -> DownloadCount { sandbox.downloads(of: request.uid.rawValue) }

    /// Every request for the MP4 goes on where the spool's bytes end, and further than the one before it.
    func expectFetchesGoOn(sourceLocation: Testing.SourceLocation = #_sourceLocation) {
        let fetches = fetches
        for (last, fetch) in zip(fetches, fetches.dropFirst()) {
            #expect(fetch.offset >= last.offset, sourceLocation: sourceLocation)
        }
        for fetch in fetches {
            #expect(fetch.offset == fetch.held, sourceLocation: sourceLocation)
            #expect((fetch.ifRange != nil) == (fetch.offset > 0), sourceLocation: sourceLocation)
        }
    }

    // MARK: R2

    func key(of request: ActionRequest) -> String { "videos/\(request.uid).mp4" }

    func openUploads() async throws -> [String] { try await storage.listMultipartUploads(prefix: "").map(\.uploadID) }

    func expectSameBytes(
        _ request: ActionRequest, _ bytes: Int, sourceLocation: Testing.SourceLocation = #_sourceLocation
    ) async throws {
        let source = try Data(contentsOf: URL(filePath: sandbox.sourceFile(of: request.uid.rawValue)))
        #expect(source.count == bytes, sourceLocation: sourceLocation)
        try await expectObject(request, is: Array(source), sourceLocation: sourceLocation)
    }

    /// R2 has these bytes, and nothing that is unfinished.
    func expectObject(
        _ request: ActionRequest, is bytes: [UInt8], sourceLocation: Testing.SourceLocation = #_sourceLocation
    ) async throws {
        let object = try await storage.getObject(key(of: request), sink: .memory(bytesMax: 64 << 20)).body
        #expect(object.count == bytes.count, sourceLocation: sourceLocation)
        // Not compared in the macro, which would print them.
        if object != bytes {
            let place = zip(object, bytes).enumerated().first { $1.0 != $1.1 }?.offset
            Issue.record("the object differs from byte \(place ?? bytes.count) on", sourceLocation: sourceLocation)
        }
        #expect(try await openUploads() == [], sourceLocation: sourceLocation)
    }

    func expectNoObject(
        _ request: ActionRequest, sourceLocation: Testing.SourceLocation = #_sourceLocation
    ) async throws {
        #expect(try await storage.headObject(key(of: request)) == nil, sourceLocation: sourceLocation)
    }

    func expectComplete(_ outcome: ActionOutcome, sourceLocation: Testing.SourceLocation = #_sourceLocation) {
        #expect(outcome == .reported, sourceLocation: sourceLocation)
        #expect(reporter.statuses.last == .complete, sourceLocation: sourceLocation)
        #expect(reporter.record == nil, sourceLocation: sourceLocation)
        #expect(spool.bytesUsed() == 0, sourceLocation: sourceLocation)
    }
}

/// A request as the pipeline sent it.
struct SentRequest: Sendable {
    var method: HTTPRequest.Method
    var url: String
    var at: ContinuousClock.Instant
    /// Its answer goes to the spool.
    var isFetch: Bool
    /// Where the wanted range begins; 0 without one.
    var offset: UInt64
    var ifRange: String?
    /// What the spool file held when it was sent.
    var held: UInt64

    var partNumber: Int? { url.firstMatch(of: /partNumber=(\d+)/).flatMap { Int($0.output.1) } }

    init(_ request: OutboundRequest) {
        (method, url, at) = (request.method, request.url, .now)
        let range = request.headers[.range]?.wholeMatch(of: /bytes=(\d+)-/)
        offset = range.flatMap { UInt64($0.output.1) } ?? 0
        ifRange = request.headers[.ifRange]
        (isFetch, held) = (false, 0)
        if case .file(let sink) = request.sink {
            let attributes = try? FileManager.default.attributesOfItem(atPath: sink.path)
            (isFetch, held) = (true, (attributes?[.size] as? NSNumber)?.uint64Value ?? 0)
        }
    }
}

/// A transport that lets a test in before each request goes out, and keeps what went out.
private final class WatchedTransport: HTTPTransport {
    private struct State: Sendable {
        var world: TransferWorld?
        var sent: [SentRequest] = []
    }

    private let transport: CurlTransport
    private let before: TransferWorld.Hook
    private let state = NIOLockedValueBox(State())

    init(_ transport: CurlTransport, _ before: @escaping TransferWorld.Hook) {
        self.transport = transport
        self.before = before
    }

    var sent: [SentRequest] { state.withLockedValue(\.sent) }
    var world: TransferWorld? {
        get { state.withLockedValue(\.world) }
        set { state.withLockedValue { $0.world = newValue } }
    }

    func send(_ request: OutboundRequest) async throws(TransferError) -> OutboundResponse {
        var request = request
        if let world { await before(world, &request) }
        let sent = SentRequest(request)
        state.withLockedValue { $0.sent.append(sent) }
        return try await transport.send(request)
    }
}

/// Lets only some parts of an upload out; the others wait until it is opened or their task is cancelled.
struct PartGate: Sendable {
    private let gate = Gate()
    private let passing: Set<Int>

    init(passing: Set<Int>) { self.passing = passing }

    func admit(_ request: OutboundRequest) async {
        guard let number = SentRequest(request).partNumber, !passing.contains(number) else { return }
        await gate.wait()
    }

    func open() { gate.open() }
}
