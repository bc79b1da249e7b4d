// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import CloudflareStream
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP
import Pipeline
import Testing

/// The pipeline over a transport that answers by a closure, for what it sends and what it makes of answers.
private struct World {
    typealias Answer = @Sendable (OutboundRequest) throws(TransferError) -> OutboundResponse

    let folder: Folder
    let spool: Spool
    let transport: FakeTransport
    let pipeline: Pipeline
    let reporter = MemoryReporter()

    init(hosts: [String] = ["*.cloudflarestream.com"], spoolBytesMax: UInt64 = 1 << 20, _ answer: @escaping Answer)
        throws
    {
        folder = try Folder()
        spool = Spool(folder: folder.path, bytesMax: spoolBytesMax)
        transport = FakeTransport { (request) async throws(TransferError) in try answer(request) }
        // Downloads and digests follow each other by looking again after a moment, so time has to pass.
        let clock = SystemWallClock()
        pipeline = Pipeline(
            stream: StreamClient(
                transport: transport, baseURL: "https://api.test/v4", accountID: "acc", token: "secret-token",
                budget: FreeBudget(), clock: clock, logger: silent),
            storage: S3Client(
                configuration: S3Configuration(
                    endpoint: "https://r2.test", bucket: "bucket",
                    credentials: StorageCredentials(accessKeyID: "key", secretAccessKey: "secret")),
                transport: transport, clock: clock),
            transport: transport, spool: spool,
            settings: TransferSettings(
                downloadHosts: try DownloadHosts(hosts), publicURL: "https://cdn.test/", partBytes: 5 << 20),
            clock: clock, logger: silent)
    }

    func perform(_ request: ActionRequest) async -> ActionOutcome? {
        await pipeline.perform([request], reporter: reporter)[request.uid]
    }

    var lines: [String] { transport.requests.map { "\($0.method.rawValue) \($0.url)" } }
}

private func json(_ status: Int = 200, _ result: String, headers: HTTPFields = [:]) -> OutboundResponse {
    var headers = headers
    headers[.contentType] = "application/json"
    let text = #"{"success":\#(status < 400),"errors":[],"messages":[],"result":\#(result)}"#
    return OutboundResponse(head: ResponseHead(status: status, headers: headers), body: Array(text.utf8))
}

private func plain(_ status: Int, _ body: [UInt8] = [], _ headers: HTTPFields = [:], length: UInt64? = nil)
    -> OutboundResponse
{
    OutboundResponse(
        head: ResponseHead(status: status, headers: headers, contentLength: length ?? UInt64(body.count)), body: body)
}

private let api = "https://api.test/v4/accounts/acc/stream"

@Suite struct StreamActionTests {
    @Test func checksShareOneListCallAndWhatIsMissingIsAskedForByItself() async throws {
        let world = try World { request in
            if request.url.contains("?id=") {
                return json(200, #"[{"uid":"\#(uid(1))","status":{"state":"inprogress","pctComplete":"40"}}]"#)
            }
            return request.url.hasSuffix("\(uid(2))")
                ? json(200, #"{"uid":"\#(uid(2))","status":{"state":"ready"}}"#) : json(404, "null")
        }
        let requests = [1, 2, 3].map { request(uid($0), .checkVideo, .queued) }
        let outcomes = await world.pipeline.perform(requests, reporter: world.reporter)
        #expect(outcomes[uid(1)]?.observation?.status == .processing)
        #expect(outcomes[uid(1)]?.observation?.percent == 40)
        #expect(outcomes[uid(2)]?.observation?.status == .streamReady)
        #expect(outcomes[uid(3)]?.failure?.code == "video_missing")
        #expect(outcomes[uid(3)]?.failure?.isRetryable == false)
        #expect(
            world.lines == [
                "GET \(api)?id=\(uid(1)),\(uid(2)),\(uid(3))", "GET \(api)/\(uid(2))", "GET \(api)/\(uid(3))",
            ])
    }

    @Test(arguments: [
        (503, true, false), (500, true, false), (408, true, false), (429, true, true), (401, false, false),
        (403, false, false), (400, false, false), (409, true, false),
    ])
    func everyClassOfAnswerHasItsFailure(_ status: Int, _ isRetryable: Bool, _ isWaiting: Bool) async throws {
        let world = try World { _ in json(status, "null", headers: [.retryAfter: "7"]) }
        for action in [Action.checkVideo, .requestMP4, .checkMP4] {
            let failure = try #require(await world.perform(request(uid(1), action, .waitForMP4))?.failure)
            #expect(failure.isRetryable == isRetryable, "\(action) \(failure)")
            #expect(failure.isWaiting == isWaiting)
            if isRetryable { #expect(failure.retryAfter == .seconds(7)) }
            #expect(!failure.message.isEmpty)
        }
    }

    @Test func answerThatNeverCameIsRetryable() async throws {
        let world = try World { _ throws(TransferError) in
            throw TransferError(code: .reset, message: "connection reset")
        }
        let failure = try #require(await world.perform(request(uid(1), .checkMP4, .waitForMP4))?.failure)
        #expect(failure.isRetryable)
    }

    @Test func mp4IsAskedForOnceAndDeletedBeforeItIsAskedForAgain() async throws {
        let world = try World { request in
            request.method == .delete
                ? json(404, "null") : json(200, #"{"default":{"status":"inprogress","percentComplete":3}}"#)
        }
        let first = await world.perform(request(uid(1), .requestMP4, .streamReady))
        #expect(first?.observation?.status == .waitForMP4)
        #expect(world.lines == ["POST \(api)/\(uid(1))/downloads/default"])
        let again = await world.perform(request(uid(1), .requestMP4, .waitForMP4) { $0.mp4Requests = 1 })
        #expect(again?.observation?.status == .waitForMP4)
        #expect(
            world.lines.dropFirst() == [
                "DELETE \(api)/\(uid(1))/downloads/default", "POST \(api)/\(uid(1))/downloads/default",
            ])
    }

    @Test(arguments: [
        (#"{"default":{"status":"inprogress","percentComplete":30}}"#, ClipStatus.mp4Processing),
        (#"{"default":{"status":"ready","percentComplete":100,"url":"https://x/y"}}"#, .mp4Downloading),
        (#"{"status":"ready"}"#, .mp4Downloading),
    ])
    func mp4StateIsRead(_ result: String, _ status: ClipStatus) async throws {
        let world = try World { _ in json(200, result) }
        #expect(await world.perform(request(uid(1), .checkMP4, .waitForMP4))?.observation?.status == status)
        #expect(world.lines == ["GET \(api)/\(uid(1))/downloads"])
    }

    @Test(arguments: [("{}", "mp4_missing"), (#"{"default":{"status":"error"}}"#, "mp4_failed")])
    func mp4ThatIsNotComingIsMissing(_ result: String, _ code: String) async throws {
        let world = try World { _ in json(200, result) }
        guard case .mp4Missing(let failure)? = await world.perform(request(uid(1), .checkMP4, .waitForMP4)) else {
            Issue.record("it is no missing MP4")
            return
        }
        #expect(failure.code == code)
    }

    @Test func videoThatIsGoneStopsTheClip() async throws {
        let world = try World { _ in json(404, "null") }
        let steps: [(Action, ClipStatus)] = [
            (.requestMP4, .waitForMP4), (.checkMP4, .waitForMP4), (.transfer, .mp4Downloading),
        ]
        for (action, status) in steps {
            let failure = try #require(await world.perform(request(uid(1), action, status))?.failure)
            #expect(failure.code == "video_missing")
            #expect(!failure.isRetryable)
        }
    }
}

@Suite struct TransferRequestTests {
    private static let mp4 = "https://customer-x.cloudflarestream.com/\(uid(1))/downloads/default.mp4"
    private static let bytes: [UInt8] = Array("an MP4, as it were".utf8)

    private var transfer: ActionRequest {
        request(uid(1), .transfer, .mp4Downloading, [DetailKey.mp4DownloadURL.rawValue: .string(Self.mp4)])
    }

    /// All goes well, but for what `other` answers.
    private func world(
        hosts: [String] = ["*.cloudflarestream.com"], spoolBytesMax: UInt64 = 1 << 20, isPrivate: Bool = false,
        _ other: @escaping @Sendable (OutboundRequest) throws(TransferError) -> OutboundResponse? = { _ in nil }
    ) throws -> World {
        let digest = FileDigest(of: Self.bytes)
        return try World(hosts: hosts, spoolBytesMax: spoolBytesMax) { (request) throws(TransferError) in
            if let answer = try other(request) { return answer }
            switch (request.method, URL(string: request.url)?.host() ?? "") {
            case (.post, "api.test"): return json(200, #"{"token":"t.o.k"}"#)
            case (_, "api.test"):
                return json(200, #"{"uid":"\#(uid(1))","requireSignedURLs":\#(isPrivate),"status":{"state":"ready"}}"#)
            case (.put, "r2.test"): return plain(200, [], [.eTag: "\"\(digest.md5)\""])
            case (.head, "r2.test"):
                return plain(200, [], [.eTag: "\"\(digest.md5)\""], length: UInt64(Self.bytes.count))
            default: return plain(200, Self.bytes, [.eTag: "\"e1\""])
            }
        }
    }

    @Test func transferAsksFetchesPutsAndConfirms() async throws {
        let world = try world()
        #expect(await world.perform(transfer) == .reported)
        #expect(
            world.lines == [
                "GET \(api)/\(uid(1))", "GET \(Self.mp4)", "PUT https://r2.test/bucket/videos/\(uid(1)).mp4",
                "HEAD https://r2.test/bucket/videos/\(uid(1)).mp4",
            ])
        #expect(world.reporter.statuses == [.r2Uploading, .complete])
        let details = try #require(world.reporter.details(of: .complete))
        #expect(details[.r2Key] == .string("videos/\(uid(1)).mp4"))
        #expect(details[.r2Size] == .integer(Int64(Self.bytes.count)))
        #expect(details[.r2PublicURL] == .string("https://cdn.test/videos/\(uid(1)).mp4"))
        #expect(details[.r2ETag] == .string(FileDigest(of: Self.bytes).md5))
        #expect(details[.r2UploadComplete] == true)
        #expect(world.reporter.record == nil)
        #expect(world.folder.names == [])
    }

    @Test func noCredentialGoesToTheMP4Host() async throws {
        let world = try world(isPrivate: true)
        let outcome = await world.perform(transfer)
        #expect(outcome == .reported)
        let fetch = try #require(world.transport.requests.first { $0.url.contains("cloudflarestream") })
        #expect(fetch.url == "https://customer-x.cloudflarestream.com/t.o.k/downloads/default.mp4")
        #expect(fetch.headers[.authorization] == nil)
        #expect(fetch.addressPolicy == .publicOnly)
        #expect(!world.reporter.saved.contains { "\($0)".contains("t.o.k") })
        #expect(!world.reporter.reports.contains { "\($0)".contains("t.o.k") })
        let token = try #require(world.transport.requests.first { $0.method == .post })
        #expect(String(decoding: try token.body.content(), as: UTF8.self).contains("\"downloadable\":true"))
    }

    @Test func putCarriesLengthAndHashOfTheBytes() async throws {
        let world = try world()
        _ = await world.perform(transfer)
        let put = try #require(world.transport.requests.first { $0.method == .put })
        guard case .file(_, let offset, let length) = put.body else {
            Issue.record("the body is no file")
            return
        }
        #expect(offset == 0 && length == UInt64(Self.bytes.count))
        #expect(put.headers[HTTPField.Name("x-amz-content-sha256")!] == FileDigest(of: Self.bytes).sha256)
        #expect(put.headers[.contentType] == "video/mp4")
        #expect(put.headers[.expect] == nil)
    }

    @Test(arguments: [
        "https://evil.example/a.mp4", "http://customer-x.cloudflarestream.com/a.mp4", "https://127.0.0.1/a.mp4",
        "file:///etc/passwd",
    ])
    func hostThatIsNotAllowedIsNotAsked(_ url: String) async throws {
        let world = try world()
        let details = [DetailKey.mp4DownloadURL.rawValue: JSONValue.string(url)]
        let failure = try #require(await world.perform(request(uid(1), .transfer, .mp4Downloading, details))?.failure)
        #expect(failure.code == "download_host")
        #expect(!failure.isRetryable)
        #expect(failure.message.contains("CLIPBRIDGE_DOWNLOAD_HOSTS"))
        #expect(world.lines == ["GET \(api)/\(uid(1))"])
    }

    @Test func redirectsAreFollowedWithinTheAllowedHosts() async throws {
        let target = "https://cdn.cloudflarestream.com/other.mp4"
        let world = try world { request in
            request.url == Self.mp4 ? plain(302, [], [.location: target]) : nil
        }
        #expect(await world.perform(transfer) == .reported)
        #expect(world.lines.contains("GET \(target)"))
    }

    @Test(arguments: [
        ("https://evil.example/a.mp4", "download_host"), ("http://cdn.cloudflarestream.com/a.mp4", "download_redirect"),
        ("/again", "download_redirects"),
    ])
    func redirectThatLeadsAstrayStopsTheClip(_ location: String, _ code: String) async throws {
        let world = try world { request in
            request.url.contains("cloudflarestream") ? plain(302, [], [.location: location]) : nil
        }
        let failure = try #require(await world.perform(transfer)?.failure)
        #expect(failure.code == code)
        #expect(!failure.isRetryable)
        #expect(world.transport.requests.count { $0.url.contains("cloudflarestream") } <= 4)
        #expect(!world.lines.contains { $0.contains("evil.example") })
    }

    @Test(arguments: [
        (401, false), (403, false), (404, false), (410, false), (408, true), (409, true), (412, true), (416, true),
        (424, true), (425, true), (429, true), (500, true), (503, true), (204, true),
    ])
    func everyAnswerOfTheMP4HostHasItsClass(_ status: Int, _ isRetryable: Bool) async throws {
        let world = try world { request in
            request.url == Self.mp4 ? plain(status, Array("no".utf8), [.retryAfter: "9"]) : nil
        }
        let failure = try #require(await world.perform(transfer)?.failure)
        #expect(failure.isRetryable == isRetryable, "\(failure)")
        if status == 429 || status == 503 { #expect(failure.retryAfter == .seconds(9)) }
        #expect(world.reporter.statuses == [])
    }

    @Test func refusedTokenIsWorthAnother() async throws {
        let world = try world(isPrivate: true) { request in
            request.url.contains("cloudflarestream") ? plain(403) : nil
        }
        #expect(await world.perform(transfer)?.failure?.isRetryable == true)
    }

    @Test func emptyMP4StopsTheClip() async throws {
        let world = try world { request in request.url == Self.mp4 ? plain(200) : nil }
        #expect(await world.perform(transfer)?.failure?.code == "download_empty")
    }

    @Test func mp4LargerThanTheSpoolStopsTheClipWithWords() async throws {
        let world = try world(spoolBytesMax: 4)
        let failure = try #require(await world.perform(transfer)?.failure)
        // The fake transport's answer names its length before its bytes.
        #expect(failure.code == "spool_too_small")
        #expect(!failure.isRetryable)
        #expect(failure.message.contains("CLIPBRIDGE_SPOOL_MAX_BYTES is 4"))
        #expect(world.folder.names == [])
    }

    @Test func fullSpoolIsWaitedForAndNoAttempt() async throws {
        let world = try world(spoolBytesMax: 20)
        try world.spool.reserve(10, for: uid(2))
        let failure = try #require(await world.perform(transfer)?.failure)
        #expect(failure.code == "spool_full")
        #expect(failure.isRetryable && failure.isWaiting)
    }

    @Test func twoRunsAreNeverAtOneSpoolFile() async throws {
        let world = try world()
        #expect(world.spool.take(uid(1)))
        let failure = try #require(await world.perform(transfer)?.failure)
        #expect(failure.code == "spool_in_use")
        #expect(failure.isRetryable && failure.isWaiting)
        #expect(world.lines == [])
        world.spool.giveBack(uid(1))
        #expect(await world.perform(transfer) == .reported)
        #expect(world.spool.take(uid(1)))
    }

    @Test func wholeSpoolFileIsNotFetchedAgain() async throws {
        let world = try world()
        world.folder.write(Self.bytes, to: "\(uid(1)).mp4.spool")
        let digest = FileDigest(of: Self.bytes)
        var known = TransferRecord(
            sourceURL: Self.mp4, sourceETag: "\"e1\"", size: digest.length, spoolPath: "", spoolHost: "",
            objectKey: "videos/\(uid(1)).mp4", partBytes: 5 << 20)
        known.parts = [TransferPart(number: 1, size: digest.length, sha256: digest.sha256, etag: digest.md5)]
        let reporter = MemoryReporter(record: known)
        #expect(await world.pipeline.perform([transfer], reporter: reporter)[uid(1)] == .reported)
        #expect(!world.lines.contains("GET \(Self.mp4)"))
    }

    @Test func spoolFileThatWasTamperedWithIsFetchedAgain() async throws {
        let world = try world()
        world.folder.write(Self.bytes.reversed(), to: "\(uid(1)).mp4.spool")
        let digest = FileDigest(of: Self.bytes)
        var known = TransferRecord(
            sourceURL: Self.mp4, sourceETag: "\"e1\"", size: digest.length, spoolPath: "", spoolHost: "",
            objectKey: "videos/\(uid(1)).mp4", partBytes: 5 << 20)
        known.parts = [TransferPart(number: 1, size: digest.length, sha256: digest.sha256, etag: digest.md5)]
        let reporter = MemoryReporter(record: known)
        #expect(await world.pipeline.perform([transfer], reporter: reporter)[uid(1)] == .reported)
        #expect(world.lines.contains("GET \(Self.mp4)"))
    }

    /// The record names this machine from here on, and the next run would believe what the file holds.
    @Test func spoolOfAnotherStartOfTheMachineIsCutBeforeAnythingIsAsked() async throws {
        let world = try world { request in request.url.hasPrefix("https://api.test") ? json(401, "null") : nil }
        world.folder.write(Self.bytes.reversed(), to: "\(uid(1)).mp4.spool")
        let known = TransferRecord(
            sourceURL: Self.mp4, sourceETag: "\"e1\"", size: UInt64(Self.bytes.count), spoolPath: "",
            spoolHost: "another start", objectKey: "videos/\(uid(1)).mp4", partBytes: 5 << 20)
        let reporter = MemoryReporter(record: known)
        let outcome = await world.pipeline.perform([transfer], reporter: reporter)[uid(1)]
        #expect(outcome?.failure?.code == "cloudflare_unauthorized")
        #expect(reporter.record?.spoolHost != "another start")
        #expect(world.spool.size(of: uid(1)) == 0)
    }

    @Test func objectOfAnotherSizeIsNotComplete() async throws {
        let world = try world { request in
            request.method == .head ? plain(200, [], [:], length: 3) : nil
        }
        let failure = try #require(await world.perform(transfer)?.failure)
        #expect(failure.code == "r2_unconfirmed")
        #expect(failure.isRetryable)
        #expect(world.reporter.statuses == [.r2Uploading])
        #expect(world.reporter.record?.objectETag == nil)
        #expect(world.spool.size(of: uid(1)) == UInt64(Self.bytes.count))
    }

    @Test func finishedClipThatIsRetriedIsOnlyConfirmed() async throws {
        let world = try world()
        let size = JSONValue.integer(Int64(Self.bytes.count))
        let retried = request(uid(1), .transfer, .r2Uploading, [DetailKey.r2Size.rawValue: size])
        #expect(await world.perform(retried) == .reported)
        #expect(world.lines == ["HEAD https://r2.test/bucket/videos/\(uid(1)).mp4"])
        #expect(world.reporter.statuses == [.complete])
    }

    @Test(arguments: 0...1)
    func lostLeaseStopsTheTransferAndKeepsTheSpool(_ reports: Int) async throws {
        let world = try world()
        let reporter = MemoryReporter()
        reporter.loseLease(afterReports: reports)
        let outcome = await world.pipeline.perform([transfer], reporter: reporter)[uid(1)]
        #expect(outcome == .abandoned)
        #expect(!reporter.statuses.contains(.complete))
        #expect(!world.lines.contains { $0.hasPrefix("DELETE") })
    }

    @Test func cancelledTransferIsAbandoned() async throws {
        let world = try world { (request) throws(TransferError) in
            guard request.url == Self.mp4 else { return nil }
            throw TransferError(code: .cancelled, message: "cancelled")
        }
        #expect(await world.perform(transfer) == .abandoned)
    }

    @Test func ledgerThatRefusesAStatusIsAFailureWithItsWords() async throws {
        struct Refusing: ActionReporter {
            func report(_ observation: Observation, for request: ActionRequest) async throws -> Bool {
                throw ActionFailure(code: "status_refused", message: "the table refuses it", isRetryable: true)
            }
            func transfer(for request: ActionRequest) async throws -> TransferRecord? { nil }
            func save(_ transfer: TransferRecord?, for request: ActionRequest) async throws -> Bool { true }
            func save(_ part: TransferPart, for request: ActionRequest) async throws -> Bool { true }
        }
        let world = try world()
        let outcome = await world.pipeline.perform([transfer], reporter: Refusing())[uid(1)]
        #expect(outcome?.failure?.code == "status_refused")
    }
}
