// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials
import HTTPTypes

/// `/client/v4/…`: the Stream API.
struct StreamRoutes: SandboxArea {
    let identity: SandboxIdentity
    let library: StreamLibrary
    let worker: VideoWorker
    let site: SandboxSite
    let tokens: PlaybackTokens
    let limiter: RequestLimiter?
    let clock: any WallClock

    private static let bodyBytesMax = 1 << 20
    private static let tokenLifetime: Int64 = 3600
    private static let tokenLifetimeMax: Int64 = 86_400

    func faultRoutes(of request: SandboxRequest) -> Set<FaultRoute> {
        let call = try? StreamCall.parse(request.method, request.segments)
        return Set([.api, call?.faultRoute].compactMap(\.self))
    }

    /// Cloudflare's edge answers 5xx in plain text, so only client errors come in the envelope.
    func faultAnswer(status: Int, code: String?) -> SandboxResponse {
        guard status < 500 else {
            return SandboxResponse(
                status: HTTPResponse.Status(code: status), contentType: "text/plain; charset=UTF-8",
                text: "error code: \(status)")
        }
        var failure = status == 429 ? StreamFailure.rateLimited : .badRequest("fault \(status)")
        failure.status = status
        return StreamAnswer.failure(failure)
    }

    func respond(to request: SandboxRequest, beforeBody: () async throws -> Void) async throws -> SandboxResponse {
        do {
            let call = try admit(request)
            guard let limiter else { return try await perform(call, request, beforeBody) }
            let (isRefused, headers) = limiter.take()
            var answer =
                isRefused
                ? StreamAnswer.failure(.rateLimited) : try await answering(call, request, beforeBody)
            answer.headers.append(contentsOf: headers)
            return answer
        } catch let failure as StreamFailure {
            return StreamAnswer.failure(failure)
        } catch is BodyTooLarge {
            return StreamAnswer.failure(
                StreamFailure(status: 413, code: 10413, message: "Request body is too large"))
        }
    }

    /// So that a refused call carries the limiter's header fields too.
    private func answering(
        _ call: StreamCall, _ request: SandboxRequest, _ beforeBody: () async throws -> Void
    ) async throws -> SandboxResponse {
        do {
            return try await perform(call, request, beforeBody)
        } catch let failure as StreamFailure {
            return StreamAnswer.failure(failure)
        }
    }

    private func admit(_ request: SandboxRequest) throws(StreamFailure) -> StreamCall {
        guard request.headers[.authorization] == "Bearer \(identity.apiToken)" else { throw .unauthenticated }
        let segments = request.segments
        let call = try StreamCall.parse(request.method, segments)
        if let account = StreamCall.account(in: segments), account != identity.accountID { throw .forbidden }
        return call
    }

    private func perform(
        _ call: StreamCall, _ request: SandboxRequest, _ beforeBody: () async throws -> Void
    ) async throws -> SandboxResponse {
        switch call {
        case .verifyToken: return verifyToken()
        case .copy: return try await copy(object(in: request, beforeBody), request.headers)
        case .basicUpload: return try await basicUpload(request, beforeBody)
        case .directUpload: return try await directUpload(object(in: request, beforeBody), request.headers)
        case .list: return try list(StreamListQuery(request.query))
        case .storageUsage: return storageUsage(creator: request.query["creator"])
        case .get(let uid): return StreamAnswer.success(json(try video(uid)))
        case .edit(let uid): return try await edit(uid, object(in: request, beforeBody))
        case .delete(let uid):
            guard library.remove(uid) else { throw StreamFailure.notFound }
            return SandboxResponse(status: .ok)
        case .listDownloads(let uid): return StreamAnswer.success(downloads(of: try video(uid)))
        case .createDownload(let uid, let type): return try createDownload(uid, type: type)
        case .deleteDownload(let uid, let type): return try deleteDownload(uid, type: type)
        case .token(let uid): return try await token(uid, object(in: request, beforeBody))
        case .viewWebhook: return try webhook(library.subscriptions.current)
        case .putWebhook: return try await putWebhook(object(in: request, beforeBody))
        case .deleteWebhook:
            guard library.subscriptions.unsubscribe() else { throw noWebhook }
            return StreamAnswer.success("ok")
        }
    }

    /// The body as a JSON object; an empty body is an empty one.
    private func object(
        in request: SandboxRequest, _ beforeBody: () async throws -> Void
    ) async throws -> [String: JSONValue] {
        try await beforeBody()
        let bytes = try await request.collectBody(bytesMax: Self.bodyBytesMax)
        guard !bytes.isEmpty else { return [:] }
        guard let object = JSONValue(json: bytes)?.objectValue else {
            throw StreamFailure.badRequest("the body is no JSON object")
        }
        return object
    }

    private func video(_ uid: String) throws(StreamFailure) -> StreamVideo {
        guard let video = library.video(uid) else { throw .notFound }
        return video
    }

    private func json(_ video: StreamVideo) -> JSONValue {
        StreamVideoJSON(origin: site.origin).answer(video, library.stateNow(of: video))
    }

    private func verifyToken() -> SandboxResponse {
        let id = String(identity.derived("token id").prefix(32))
        return StreamAnswer.success(["id": .string(id), "status": "active"])
    }
}

// MARK: - Videos

extension StreamRoutes {
    private func copy(_ body: [String: JSONValue], _ headers: HTTPFields) async throws -> SandboxResponse {
        guard let url = body["url"]?.stringValue else {
            throw StreamFailure.badRequest("\"url\" is missing", pointer: "/url")
        }
        guard SourceLocation(url) != nil else {
            throw StreamFailure.badRequest(
                "url is neither http(s)://… nor sample:SIZE, such as sample:5MB", pointer: "/url")
        }
        let changes = try StreamVideoChanges(body)
        let video = library.add(origin: .copy(url: url)) { video in
            changes.apply(to: &video)
            apply(headers, to: &video)
            video.meta["downloaded-from"] = .string(url)
        }
        worker.enqueue(video.uid)
        return StreamAnswer.success(json(video))
    }

    /// What tus and basic uploads may say in header fields.
    private func apply(_ headers: HTTPFields, to video: inout StreamVideo) {
        if let creator = headers[.uploadCreator] { video.creator = creator }
        for item in (headers[.uploadMetadata] ?? "").split(separator: ",") {
            let words = item.split(separator: " ").map(String.init)
            let value =
                words.count > 1 ? Data(base64Encoded: words[1]).map { String(decoding: $0, as: UTF8.self) } : nil
            switch words.first {
            case "name": video.meta["name"] = value.map(JSONValue.string)
            case "requiresignedurls": video.requireSignedURLs = true
            case "allowedorigins": video.allowedOrigins = (value ?? "").split(separator: ",").map(String.init)
            default: break
            }
        }
    }

    private func basicUpload(
        _ request: SandboxRequest, _ beforeBody: () async throws -> Void
    ) async throws -> SandboxResponse {
        guard request.headers[.tusResumable] == nil else {
            throw StreamFailure.badRequest("the sandbox takes no tus uploads; use copy or direct_upload")
        }
        try await beforeBody()
        let video = library.add(origin: .basicUpload) { apply(request.headers, to: &$0) }
        do {
            try await UploadBody.store(request, as: video.uid, in: library, worker: worker)
        } catch {
            _ = library.remove(video.uid)
            throw error
        }
        return StreamAnswer.success(json(try self.video(video.uid)))
    }

    private func directUpload(_ body: [String: JSONValue], _ headers: HTTPFields) async throws -> SandboxResponse {
        guard body["maxDurationSeconds"] != nil else {
            throw StreamFailure.badRequest("\"maxDurationSeconds\" is missing", pointer: "/maxDurationSeconds")
        }
        let changes = try StreamVideoChanges(body)
        let expiry = try changes.time(body["expiry"], "expiry") ?? clock.now() + .seconds(1800)
        let key = identity.derived("upload \(UInt64.random(in: 0 ... .max))")
        let video = library.add(origin: .directUpload(key: key)) { video in
            changes.apply(to: &video)
            apply(headers, to: &video)
            video.uploadExpiry = expiry
        }
        var result: [String: JSONValue] = [
            "uid": .string(video.uid), "uploadURL": .string("\(site.origin)/upload/\(key)/\(video.uid)"),
        ]
        result["scheduledDeletion"] = video.scheduledDeletion.map(JSONValue.string)
        return StreamAnswer.success(.object(result))
    }

    private func list(_ query: StreamListQuery) throws -> SandboxResponse {
        let found = library.all
            .map { ($0, library.stateNow(of: $0)) }
            .filter { query.accepts($0, stateName: $1.phase.name) }
            .sorted { left, right in
                // Ties in time are broken by uid, so that a list always has the same order.
                let isBefore = (left.0.created, left.0.uid) < (right.0.created, right.0.uid)
                return query.isAscending ? isBefore : !isBefore
            }
        let page = found.prefix(query.limit)
        let writer = StreamVideoJSON(origin: site.origin)
        let counts: [String: JSONValue] = [
            "total": .integer(Int64(found.count)), "range": .integer(Int64(found.count - page.count)),
        ]
        return StreamAnswer.success(
            .array(page.map { writer.answer($0, $1) }), besides: query.includesCounts ? counts : [:])
    }

    private func storageUsage(creator: String?) -> SandboxResponse {
        let videos = library.all.filter { creator == nil || $0.creator == creator }
        let seconds = videos.reduce(0.0) { sum, video in
            guard case .arrived(_, let size, _) = video.arrival else { return sum }
            return sum + video.duration(size: size)
        }
        var result: [String: JSONValue] = [
            "totalStorageMinutes": .integer(Int64((seconds / 60).rounded(.up))), "totalStorageMinutesLimit": 1000,
            "videoCount": .integer(Int64(videos.count)),
        ]
        result["creator"] = creator.map(JSONValue.string)
        return StreamAnswer.success(.object(result))
    }

    private func edit(_ uid: String, _ body: [String: JSONValue]) async throws -> SandboxResponse {
        if let named = body["uid"]?.stringValue, named != uid {
            throw StreamFailure.badRequest("\"uid\" names another video", pointer: "/uid")
        }
        let changes = try StreamVideoChanges(body)
        guard let video = library.edit(uid, { changes.apply(to: &$0) }) else { throw StreamFailure.notFound }
        return StreamAnswer.success(json(video))
    }
}

// MARK: - Downloads, tokens, webhook

extension StreamRoutes {
    private func downloads(of video: StreamVideo) -> JSONValue {
        func download(_ status: String, _ percent: Double) -> JSONValue {
            let url = "\(site.origin)/media/\(video.uid)/downloads/default.mp4"
            return ["default": ["status": .string(status), "percentComplete": .double(percent), "url": .string(url)]]
        }
        switch library.stateNow(of: video).mp4 {
        case .none: return [:]
        case .inProgress(let percent): return download("inprogress", (percent * 10).rounded(.down) / 10)
        case .ready: return download("ready", 100)
        case .error: return download("error", 0)
        }
    }

    private func createDownload(_ uid: String, type: String) throws -> SandboxResponse {
        try checkDownloadType(type)
        let state = library.stateNow(of: try video(uid))
        guard state.phase == .ready else {
            throw StreamFailure(
                status: 409, code: 10009,
                message: "Video is \"\(state.phase.name)\"; downloads can be made when it is \"ready\"")
        }
        guard let video = library.requestMP4(uid) else { throw StreamFailure.notFound }
        return StreamAnswer.success(downloads(of: video))
    }

    private func deleteDownload(_ uid: String, type: String?) throws -> SandboxResponse {
        if let type { try checkDownloadType(type) }
        guard library.change(uid, { $0.mp4 = nil }) != nil else { throw StreamFailure.notFound }
        return StreamAnswer.success("ok")
    }

    private func checkDownloadType(_ type: String) throws(StreamFailure) {
        switch type {
        case "default": break
        case "audio": throw .badRequest("the sandbox makes no audio downloads")
        default: throw .badRequest("download type \"\(type)\" is neither \"default\" nor \"audio\"")
        }
    }

    private func token(_ uid: String, _ body: [String: JSONValue]) async throws -> SandboxResponse {
        let video = try video(uid)
        let now = clock.now().seconds
        let exp = body["exp"]?.integerValue ?? now + Self.tokenLifetime
        guard exp > now, exp <= now + Self.tokenLifetimeMax else {
            throw StreamFailure.badRequest("\"exp\" is not within the next 24 hours", pointer: "/exp")
        }
        let token = tokens.token(
            uid: video.uid, exp: exp, nbf: body["nbf"]?.integerValue ?? now - Self.tokenLifetime,
            downloadable: body["downloadable"]?.boolValue ?? false)
        return StreamAnswer.success(["token": .string(token)])
    }

    private var noWebhook: StreamFailure {
        StreamFailure(status: 404, code: 10003, message: "Not Found: no webhook is subscribed")
    }

    private func webhook(_ subscription: WebhookSubscriptions.Subscription?) throws -> SandboxResponse {
        guard let subscription else { throw noWebhook }
        return StreamAnswer.success([
            "notificationUrl": .string(subscription.url),
            "notification_url": .string(subscription.url),
            "modified": .string(StreamVideoJSON.time(subscription.modified)),
            "secret": .string(subscription.secret),
        ])
    }

    private func putWebhook(_ body: [String: JSONValue]) async throws -> SandboxResponse {
        guard let url = (body["notificationUrl"] ?? body["notification_url"])?.stringValue else {
            throw StreamFailure.badRequest("\"notificationUrl\" is missing", pointer: "/notificationUrl")
        }
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), !url.contains(" ") else {
            throw StreamFailure.badRequest("\"notificationUrl\" is no http(s) URL", pointer: "/notificationUrl")
        }
        return try webhook(library.subscriptions.subscribe(url, now: clock.now()))
    }
}
