// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers
import Sandbox

/// Stream's API over the sandbox's own videos, on virtual time.
final class StreamService: Sendable {
    static let stages = StageDurations(
        download: .seconds(1), queue: .seconds(1), encode: .seconds(4), mp4: .seconds(4))

    private struct State: Sendable {
        var videos: [String: StreamVideo] = [:]
        var requests: [String: Int] = [:]
    }

    private let world: WorldState
    private let json = StreamVideoJSON(origin: "https://\(Upstream.mediaHost)")
    private let state = NIOLockedValueBox(State())

    init(_ world: WorldState) { self.world = world }

    // MARK: The account's owner

    func add(_ uid: ClipUID, meta: [String: JSONValue], isPrivate: Bool) {
        let now = world.clock.now()
        var video = StreamVideo(uid: uid.rawValue, origin: .basicUpload, created: now, edited: now)
        video.meta = meta
        video.requireSignedURLs = isPrivate
        state.withLockedValue { $0.videos[uid.rawValue] = video }
    }

    func arrived(_ uid: ClipUID, size: Int) {
        let now = world.clock.now()
        state.withLockedValue {
            $0.videos[uid.rawValue]?.arrival = .arrived(at: now, size: UInt64(size), etag: "one")
        }
    }

    /// How often the clip's MP4 was asked for.
    func mp4Requests(of uid: ClipUID) -> Int { state.withLockedValue { $0.requests[uid.rawValue, default: 0] } }

    /// What a webhook says of the video now, with its MP4 where there is one.
    func webhook(_ uid: ClipUID) -> [UInt8]? {
        guard let video = state.withLockedValue({ $0.videos[uid.rawValue] }) else { return nil }
        let now = stateNow(video)
        var members = json.webhook(video, now).objectValue ?? [:]
        if case .object(let downloads) = self.downloads(video), !downloads.isEmpty {
            members["downloads"] = .object(downloads)
        }
        return Self.bytes(.object(members))
    }

    private func stateNow(_ video: StreamVideo) -> StreamVideoState {
        StreamVideoState(video, at: world.clock.now(), stages: Self.stages)
    }

    // MARK: Calls

    func answer(_ call: Upstream.Call) -> Upstream.Answer {
        guard let uid = call.path.first else { return list(call.query["id"] ?? "") }
        guard let video = state.withLockedValue({ $0.videos[uid] }) else {
            return Self.failure(404, 10003, "Not Found")
        }
        switch (call.method, call.path.dropFirst().first) {
        case (.get, nil): return Self.success(json.answer(video, stateNow(video)))
        case (.get, "downloads"): return Self.success(downloads(video))
        case (.post, "downloads"): return requestMP4(video)
        case (.delete, "downloads"): return deleteMP4(video)
        case (.post, "token"): return Self.success(["token": .string("token-\(uid)")])
        default: return Self.failure(405, 10405, "Method not allowed")
        }
    }

    private func list(_ ids: String) -> Upstream.Answer {
        let wanted = ids.split(separator: ",").map(String.init)
        let videos = state.withLockedValue { state in wanted.compactMap { state.videos[$0] } }
        return Self.success(.array(videos.map { json.answer($0, stateNow($0)) }))
    }

    private func requestMP4(_ video: StreamVideo) -> Upstream.Answer {
        let now = stateNow(video)
        guard now.phase == .ready else { return Self.failure(409, 10005, "The video is not ready") }
        var video = video
        if now.mp4 == .none || now.mp4 == .error {
            video.mp4Attempts += 1
            video.mp4 = StreamVideo.MP4Request(requested: world.clock.now(), attempt: video.mp4Attempts)
        }
        state.withLockedValue { [video] state in
            state.videos[video.uid] = video
            state.requests[video.uid, default: 0] += 1
        }
        return Self.success(downloads(video))
    }

    private func deleteMP4(_ video: StreamVideo) -> Upstream.Answer {
        if video.mp4 == nil { return Self.failure(404, 10004, "There is no download") }
        state.withLockedValue { $0.videos[video.uid]?.mp4 = nil }
        return Self.success(.null)
    }

    private func downloads(_ video: StreamVideo) -> JSONValue {
        let url = JSONValue.string("https://\(Upstream.mediaHost)/media/\(video.uid)/downloads/default.mp4")
        func answer(_ status: String, _ percent: Double) -> JSONValue {
            ["default": ["status": .string(status), "percentComplete": .double(percent), "url": url]]
        }
        switch stateNow(video).mp4 {
        case .none: return .object([:])
        case .inProgress(let percent): return answer("inprogress", percent)
        case .ready: return answer("ready", 100)
        case .error: return answer("error", 0)
        }
    }

    // MARK: Envelopes

    private static func success(_ result: JSONValue) -> Upstream.Answer {
        json(200, ["success": true, "errors": [], "messages": [], "result": result])
    }

    private static func failure(_ status: Int, _ code: Int64, _ message: String) -> Upstream.Answer {
        let errors: JSONValue = [["code": .integer(code), "message": .string(message)]]
        return json(status, ["success": false, "errors": errors, "messages": [], "result": .null])
    }

    private static func json(_ status: Int, _ value: JSONValue) -> Upstream.Answer {
        var answer = Upstream.Answer(status, bytes(value))
        answer.headers[.contentType] = "application/json"
        return answer
    }

    private static func bytes(_ value: JSONValue) -> [UInt8] { Array(value.json.utf8) }
}
