// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import CloudflareStream
import CurlTransport
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP
import Pipeline
import Sandbox
import Testing

/// A transport that lets a test in before each request goes out.
private struct WatchedTransport: HTTPTransport {
    let transport: CurlTransport
    let before: @Sendable (OutboundRequest) async -> Void

    func send(_ request: OutboundRequest) async throws(TransferError) -> OutboundResponse {
        await before(request)
        return try await transport.send(request)
    }
}

/// A sandbox on real sockets and a pipeline that is pointed at it.
private struct World: Sendable {
    let sandbox: Sandbox
    let settings: SandboxSettings
    let curl: CurlTransport
    let folder: Folder
    let spool: Spool
    let storage: S3Client
    let pipeline: Pipeline
    let reporter = MemoryReporter()

    static func run(
        _ faults: [String] = [], spoolBytesMax: UInt64 = 1 << 30, bucket: String? = nil, secret: String? = nil,
        before: @escaping @Sendable (World, OutboundRequest) async -> Void = { _, _ in },
        _ body: @escaping @Sendable (World) async throws -> Void
    ) async throws {
        let folder = try Folder()
        let curl = try CurlTransport(configuration: .init(proxy: .none), logger: silent)
        let configuration = SandboxConfiguration(
            dataDirectory: "\(folder.path)/sandbox", speed: 1_000,
            faults: try faults.map { try FaultSpec(parsing: $0) })
        let sandbox = try Sandbox(configuration: configuration, transport: curl, logger: silent)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await sandbox.run() }
            defer { group.cancelAll() }
            let world = try World(
                sandbox: sandbox, settings: try await sandbox.settings, curl: curl, folder: folder,
                spoolBytesMax: spoolBytesMax, bucket: bucket, secret: secret, before: before)
            try await body(world)
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
        await curl.stop()
    }

    private init(
        sandbox: Sandbox, settings: SandboxSettings, curl: CurlTransport, folder: Folder, spoolBytesMax: UInt64,
        bucket: String?, secret: String?, before: @escaping @Sendable (World, OutboundRequest) async -> Void
    ) throws {
        (self.sandbox, self.settings, self.curl, self.folder) = (sandbox, settings, curl, folder)
        spool = Spool(folder: "\(folder.path)/spool", bytesMax: spoolBytesMax)
        try spool.prepare()
        storage = S3Client(
            configuration: S3Configuration(
                endpoint: settings.origin, bucket: bucket ?? settings.bucket,
                credentials: StorageCredentials(
                    accessKeyID: settings.accessKeyID, secretAccessKey: secret ?? settings.secretAccessKey)),
            transport: curl)
        let box = NIOLockedValueBox<World?>(nil)
        let watched = WatchedTransport(transport: curl) { request in
            if let world = box.withLockedValue({ $0 }) { await before(world, request) }
        }
        pipeline = Pipeline(
            stream: StreamClient(
                transport: watched, baseURL: settings.apiBase, accountID: settings.accountID, token: settings.apiToken,
                budget: FreeBudget(), logger: silent),
            storage: S3Client(configuration: storage.configuration, transport: watched), transport: watched,
            spool: spool,
            settings: TransferSettings(
                downloadHosts: try DownloadHosts(["127.0.0.1:\(settings.port)"]), publicURL: settings.publicURL,
                partBytes: 5 << 20, partsMax: 2),
            logger: silent)
        box.withLockedValue { $0 = self }
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

    func perform(_ request: ActionRequest) async -> ActionOutcome {
        await pipeline.perform([request], reporter: reporter)[request.uid] ?? .abandoned
    }

    /// A second try, as the planner would make it.
    func performAgain(_ request: ActionRequest) async -> ActionOutcome {
        var again = request
        again.work.attempt = 1
        again.status = reporter.statuses.last ?? request.status
        return await perform(again)
    }

    // MARK: R2

    func expectSameBytes(
        _ request: ActionRequest, _ bytes: Int, sourceLocation: Testing.SourceLocation = #_sourceLocation
    )
        async throws
    {
        let url = try #require(request.details[.mp4DownloadURL]?.stringValue, sourceLocation: sourceLocation)
        let sink = ResponseSink.memory(bytesMax: 64 << 20)
        let source = try await curl.send(OutboundRequest(url: url, sink: sink))
        let object = try await storage.getObject("videos/\(request.uid).mp4", sink: sink)
        #expect(object.body.count == bytes, sourceLocation: sourceLocation)
        #expect(source.body == object.body, sourceLocation: sourceLocation)
    }

    func expectComplete(_ outcome: ActionOutcome, sourceLocation: Testing.SourceLocation = #_sourceLocation) {
        #expect(outcome == .reported, sourceLocation: sourceLocation)
        #expect(reporter.statuses.last == .complete, sourceLocation: sourceLocation)
        #expect(reporter.record == nil, sourceLocation: sourceLocation)
        #expect(spool.bytesUsed() == 0, sourceLocation: sourceLocation)
    }
}

@Suite(.timeLimit(.minutes(2))) struct SandboxTransferTests {
    private static let part = 5 << 20

    @Test func smallClipGoesInOnePut() async throws {
        try await World.run { world in
            let transfer = try await world.ready(1_000_000)
            world.expectComplete(await world.perform(transfer))
            #expect(world.reporter.statuses == [.r2Uploading, .complete])
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes == 1_000_000)
            let etag = world.reporter.details(of: .complete)?[.r2ETag]?.stringValue
            #expect(etag?.contains("-") == false)
            try await world.expectSameBytes(transfer, 1_000_000)
        }
    }

    @Test(arguments: [(2 * part + 1, 3), (2 * part, 2), (part + 1, 2)])
    func largerClipGoesInEqualParts(_ bytes: Int, _ parts: Int) async throws {
        try await World.run { world in
            let transfer = try await world.ready(bytes)
            world.expectComplete(await world.perform(transfer))
            #expect(world.reporter.details(of: .complete)?[.r2ETag]?.stringValue?.hasSuffix("-\(parts)") == true)
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func clipOfExactlyOnePartGoesInOnePut() async throws {
        try await World.run { world in
            let transfer = try await world.ready(Self.part)
            world.expectComplete(await world.perform(transfer))
            #expect(world.reporter.details(of: .complete)?[.r2ETag]?.stringValue?.contains("-") == false)
        }
    }

    @Test func privateClipIsFetchedWithAToken() async throws {
        try await World.run { world in
            let transfer = try await world.ready(100_000, ["requireSignedURLs": true])
            world.expectComplete(await world.perform(transfer))
            let head = try await world.storage.headObject("videos/\(transfer.uid).mp4")
            #expect(head?.size == 100_000)
            for record in world.reporter.saved {
                #expect(record.sourceURL.isEmpty || record.sourceURL.contains(transfer.uid.rawValue))
            }
        }
    }

    @Test(arguments: ["reset", "truncate"])
    func brokenDownloadGoesOnWhereItBroke(_ kind: String) async throws {
        try await World.run(["route=mp4,kind=\(kind),after=3MiB,count=1"]) { world in
            let bytes = 8 << 20
            let transfer = try await world.ready(bytes)
            world.expectComplete(await world.perform(transfer))
            let downloads = world.sandbox.downloads(of: transfer.uid.rawValue)
            #expect(downloads.rangeRequests == 1)
            // Not a byte more than what was lost on the way.
            #expect(downloads.bytes <= UInt64(bytes) + (3 << 20))
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test(arguments: ["put", "part"])
    func r2sPassingErrorsCostNoSecondDownload(_ route: String) async throws {
        let bytes = route == "put" ? 100_000 : Self.part * 2 + 7
        try await World.run(["route=\(route),status=503,count=5"]) { world in
            let transfer = try await world.ready(bytes)
            var outcome = await world.perform(transfer)
            var tries = 1
            while outcome.failure?.isRetryable == true, tries < 6 {
                outcome = await world.performAgain(transfer)
                tries += 1
            }
            world.expectComplete(outcome)
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes == UInt64(bytes))
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func uploadThatIsGoneHalfwayStartsAnewWithoutASecondDownload() async throws {
        let isAborted = NIOLockedValueBox(false)
        try await World.run { world, request in
            guard request.url.contains("partNumber=2"), let id = world.reporter.record?.uploadID,
                !isAborted.withLockedValue({ aborted in
                    defer { aborted = true }; return aborted
                })
            else { return }
            try? await world.storage.abortMultipartUpload(world.reporter.record?.objectKey ?? "", uploadID: id)
        } _: { world in
            let bytes = Self.part * 3
            let transfer = try await world.ready(bytes)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "r2_upload_gone")
            #expect(failure.isRetryable)
            world.expectComplete(await world.performAgain(transfer))
            // The part whose download the stop cut off is all that may be fetched twice.
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes <= UInt64(bytes + Self.part))
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func stoppedUploadGoesOnWithThePartsThatR2AndTheSpoolHave() async throws {
        let stopping = NIOLockedValueBox<Task<ActionOutcome, Never>?>(nil)
        let numbers = NIOLockedValueBox<[Int]>([])
        try await World.run { _, request in
            guard let match = request.url.firstMatch(of: /partNumber=(\d+)/), let number = Int(match.output.1) else {
                return
            }
            numbers.withLockedValue { $0.append(number) }
            if number == 4 { stopping.withLockedValue { $0 }?.cancel() }
        } _: { world in
            let bytes = Self.part * 6
            let transfer = try await world.ready(bytes)
            let gate = Gate()
            let task = Task {
                await gate.wait()
                return await world.perform(transfer)
            }
            stopping.withLockedValue { $0 = task }
            gate.open()
            #expect(await task.value == .abandoned)
            stopping.withLockedValue { $0 = nil }
            let record = try #require(world.reporter.record)
            #expect(record.parts.map(\.number).sorted().prefix(3) == [1, 2, 3])
            world.expectComplete(await world.perform(transfer))
            // Besides the unfinished part, one whose digest was being taken while the stop came.
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes <= UInt64(bytes + 2 * Self.part))
            // Only what was on its way when the stop came is put twice.
            #expect(numbers.withLockedValue { $0 }.count <= 6 + 2)
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func completionWhoseAnswerIsLostIsMadeUpFor() async throws {
        try await World.run(["route=complete,kind=drop,count=1"]) { world in
            let transfer = try await world.ready(Self.part * 2)
            let outcome = await world.perform(transfer)
            world.expectComplete(outcome == .reported ? outcome : await world.performAgain(transfer))
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes == UInt64(Self.part * 2))
        }
    }

    @Test func missingBucketStopsTheClipWithWordsAndKeepsTheSpool() async throws {
        try await World.run(bucket: "nowhere") { world in
            let transfer = try await world.ready(10_000)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(!failure.isRetryable)
            #expect(failure.message.contains("R2_BUCKET_NAME"))
            #expect(world.spool.size(of: transfer.uid) == 10_000)
        }
    }

    @Test func wrongKeysStopTheClipWithWords() async throws {
        try await World.run(secret: "wrong") { world in
            let failure = try #require(await world.perform(try await world.ready(10_000)).failure)
            #expect(!failure.isRetryable)
            #expect(failure.message.contains("R2_SECRET_ACCESS_KEY"))
        }
    }

    @Test func spoolThatIsTooSmallStopsTheClipBeforeAByteIsPaidFor() async throws {
        try await World.run(spoolBytesMax: 50_000) { world in
            let transfer = try await world.ready(5_000_000)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "spool_too_small")
            #expect(!failure.isRetryable)
            #expect(world.spool.size(of: transfer.uid) == 0)
        }
    }

    @Test func mp4ThatFailsIsMissing() async throws {
        try await World.run { world in
            let uid = try await world.copy(1_000, ["meta": ["sandbox_mp4": "error"]])
            _ = try await world.observe(uid, .checkVideo, .queued, until: .streamReady)
            _ = await world.perform(request(uid, .requestMP4, .streamReady))
            await eventually {
                if case .mp4Missing(let failure) = await world.perform(request(uid, .checkMP4, .waitForMP4)) {
                    return failure.code == "mp4_failed"
                }
                return false
            }
        }
    }

    @Test func stoppedTransferIsAbandonedAndGoneOnWith() async throws {
        try await World.run(["route=mp4,kind=stall,after=2MiB,count=1"]) { world in
            let bytes = 4 << 20
            let transfer = try await world.ready(bytes)
            let task = Task { await world.perform(transfer) }
            await eventually { world.spool.size(of: transfer.uid) >= 1 << 20 }
            task.cancel()
            #expect(await task.value == .abandoned)
            world.expectComplete(await world.perform(transfer))
            // Less than a part had come, and an unfinished part is not trusted.
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes <= UInt64(bytes + Self.part))
            try await world.expectSameBytes(transfer, bytes)
        }
    }
}
