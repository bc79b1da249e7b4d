// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOConcurrencyHelpers

/// The account's videos and its webhook subscription; all changes to them go through here.
final class StreamLibrary: Sendable {
    let stages: StageDurations
    let subscriptions: WebhookSubscriptions
    private let identity: SandboxIdentity
    private let folder: DataFolder
    private let clock: any WallClock
    private let state = NIOLockedValueBox(State())

    private struct State {
        var videos: [String: StreamVideo] = [:]
        var lastNumber = 0
    }

    init(identity: SandboxIdentity, folder: DataFolder, stages: StageDurations, clock: any WallClock) {
        self.identity = identity
        self.folder = folder
        self.stages = stages
        self.clock = clock
        self.subscriptions = WebhookSubscriptions(identity: identity)
    }

    var all: [StreamVideo] { state.withLockedValue { Array($0.videos.values) } }

    func video(_ uid: String) -> StreamVideo? { state.withLockedValue { $0.videos[uid] } }

    func stateNow(of video: StreamVideo) -> StreamVideoState {
        StreamVideoState(video, at: clock.now(), stages: stages)
    }

    /// A new video, changed by `configure` before anybody sees it.
    func add(origin: StreamVideo.Origin, _ configure: (inout StreamVideo) -> Void) -> StreamVideo {
        let now = clock.now()
        return state.withLockedValue { state in
            var uid: String
            repeat {
                // A source file of that name is left from an earlier run with the same seed.
                state.lastNumber += 1
                uid = identity.videoUID(state.lastNumber)
            } while DataFolder.exists(folder.source(of: uid))
            var video = StreamVideo(uid: uid, origin: origin, created: now, edited: now)
            configure(&video)
            state.videos[uid] = video
            return video
        }
    }

    /// The changed video, or nil where there is none of this uid.
    @discardableResult
    func change(_ uid: String, _ change: (inout StreamVideo) -> Void) -> StreamVideo? {
        state.withLockedValue { state in
            guard var video = state.videos[uid] else { return nil }
            change(&video)
            state.videos[uid] = video
            return video
        }
    }

    /// Marks the moment of a change by the account's owner.
    @discardableResult
    func edit(_ uid: String, _ change: (inout StreamVideo) -> Void) -> StreamVideo? {
        let now = clock.now()
        return self.change(uid) { video in
            change(&video)
            video.edited = now
        }
    }

    func remove(_ uid: String) -> Bool {
        guard state.withLockedValue({ $0.videos.removeValue(forKey: uid) }) != nil else { return false }
        DataFolder.remove(folder.source(of: uid))
        return true
    }

    /// The file is here; the video goes on from now, or from when its stage takes at least.
    func arrived(_ uid: String, _ receipt: FileIntake.Receipt) {
        let now = clock.now()
        change(uid) { video in
            let earliest =
                switch video.origin {
                case .copy: video.created + stages.download
                case .directUpload, .basicUpload: now
                }
            let etag = receipt.sha256.prefix(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            video.arrival = .arrived(at: max(now, earliest), size: receipt.bytes, etag: etag)
        }
    }

    func failed(_ uid: String, code: String) {
        let now = clock.now()
        change(uid) { $0.arrival = .failed(at: now, code: code) }
    }

    /// Asks for the MP4; one that is on its way or made already stays as it is.
    func requestMP4(_ uid: String) -> StreamVideo? {
        let now = clock.now()
        return change(uid) { video in
            let mp4 = StreamVideoState(video, at: now, stages: stages).mp4
            guard mp4 == .none || mp4 == .error else { return }
            video.mp4Attempts += 1
            video.mp4 = StreamVideo.MP4Request(requested: now, attempt: video.mp4Attempts)
        }
    }
}
