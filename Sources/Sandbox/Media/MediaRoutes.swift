// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes

/// `/media/{uid or token}/downloads/default.mp4`: the MP4 host. `/media/{uid}/stats` tells what was downloaded.
struct MediaRoutes: SandboxArea {
    let library: StreamLibrary
    let folder: DataFolder
    let tokens: PlaybackTokens
    let counter: DownloadCounter
    let clock: any WallClock

    private static let fileNameLengthMax = 120

    func faultRoutes(of request: SandboxRequest) -> Set<FaultRoute> {
        request.segments.last == "stats" ? [] : [.mp4]
    }

    func faultAnswer(status: Int, code: String?) -> SandboxResponse {
        Self.refusal(status, "error code: \(status)")
    }

    func respond(to request: SandboxRequest, beforeBody: () async throws -> Void) async throws -> SandboxResponse {
        guard request.method == .get || request.isHead else { return Self.refusal(405, "Method not allowed") }
        let segments = Array(request.segments.dropFirst())
        if segments.count == 2, segments[1] == "stats" { return stats(segments[0]) }
        guard segments.count == 3, segments[1] == "downloads", segments[2] == "default.mp4" else {
            return Self.refusal(404, "Not found")
        }
        do {
            let video = try opened(by: segments[0])
            return try file(of: video, request)
        } catch {
            return Self.refusal(error.status, error.text)
        }
    }

    private struct Refusal: Error {
        var status: Int
        var text: String
    }

    /// The video that a uid or a token opens.
    private func opened(by name: String) throws(Refusal) -> StreamVideo {
        if let video = library.video(name) {
            guard !video.requireSignedURLs else { throw Refusal(status: 401, text: "This video needs a signed token") }
            return video
        }
        guard name.contains(".") else { throw Refusal(status: 404, text: "No such video") }
        let now = clock.now().seconds
        guard let claims = tokens.claims(of: name), claims.nbf <= now, now < claims.exp else {
            throw Refusal(status: 401, text: "The token is not valid, or no longer")
        }
        guard let video = library.video(claims.sub) else { throw Refusal(status: 404, text: "No such video") }
        guard claims.downloadable == true else {
            throw Refusal(status: 403, text: "The token does not allow downloads")
        }
        return video
    }

    private func file(of video: StreamVideo, _ request: SandboxRequest) throws(Refusal) -> SandboxResponse {
        guard case .arrived(let time, let size, let etag) = video.arrival,
            library.stateNow(of: video).mp4 == .ready
        else { throw Refusal(status: 424, text: "The download is not ready, or was never enabled") }
        var headers: HTTPFields = [
            .contentType: "video/mp4", .acceptRanges: "bytes", .eTag: "\"\(etag)\"",
            .lastModified: HTTPDate.text(time),
        ]
        if let name = request.query["filename"] {
            guard Self.isFileName(name) else { throw Refusal(status: 400, text: "The file name is not allowed") }
            headers[.contentDisposition] = "attachment; filename=\"\(name).mp4\""
        }
        if let tags = request.headers[.ifNoneMatch], EntityTag.matches(tags, etag) {
            return SandboxResponse(status: .notModified, headers: headers)
        }
        let slices = [FileSlice(path: folder.source(of: video.uid), offset: 0, length: size)]
        return answer(range(request, etag: etag, size: size), slices, size: size, headers, video.uid, request)
    }

    /// A range counts only while `If-Range` still names this file.
    private func range(_ request: SandboxRequest, etag: String, size: UInt64) -> ByteRange {
        if let condition = request.headers[.ifRange], EntityTag.bare(condition) != etag { return .whole }
        return ByteRange(header: request.headers[.range], size: size)
    }

    private func answer(
        _ range: ByteRange, _ slices: [FileSlice], size: UInt64, _ headers: HTTPFields, _ uid: String,
        _ request: SandboxRequest
    ) -> SandboxResponse {
        var response = SandboxResponse(status: .ok, headers: headers, payload: .slices(slices))
        switch range {
        case .whole: break
        case .part(let offset, let length):
            response.status = .partialContent
            response.headers[.contentRange] = "bytes \(offset)-\(offset + length - 1)/\(size)"
            response.payload = .slices(slices.part(offset: offset, length: length))
        case .unsatisfiable:
            var refusal = Self.refusal(416, "The range is not in the file")
            refusal.headers[.contentRange] = "bytes */\(size)"
            return refusal
        }
        if !request.isHead { count(response.status == .ok, uid, &response) }
        return response
    }

    private func count(_ isFull: Bool, _ uid: String, _ response: inout SandboxResponse) {
        counter.change(uid) { count in
            if isFull { count.fullRequests += 1 } else { count.rangeRequests += 1 }
        }
        response.onWritten = { [counter] bytes in counter.change(uid) { $0.bytes += UInt64(bytes) } }
    }

    private func stats(_ uid: String) -> SandboxResponse {
        let count = counter.count(of: uid)
        return StreamAnswer.json(
            .ok,
            [
                "uid": .string(uid), "full_requests": .integer(Int64(count.fullRequests)),
                "range_requests": .integer(Int64(count.rangeRequests)), "bytes": .integer(Int64(count.bytes)),
            ])
    }

    private static func isFileName(_ name: String) -> Bool {
        (1...fileNameLengthMax).contains(name.count)
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
    }

    private static func refusal(_ status: Int, _ text: String) -> SandboxResponse {
        SandboxResponse(
            status: HTTPResponse.Status(code: status), contentType: "text/plain; charset=UTF-8", text: text + "\n")
    }
}
