// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// Where a video stands at a moment: a pure function of what is remembered and the time.
package struct StreamVideoState: Sendable, Equatable {
    package enum Phase: Sendable, Equatable {
        case pendingUpload
        case downloading
        case queued
        case inProgress(percent: Double)
        case ready
        case error(code: String, percent: Double?)
    }

    package enum MP4: Sendable, Equatable {
        case none
        case inProgress(percent: Double)
        case ready
        case error
    }

    package var phase: Phase
    /// When this phase began.
    var since: Timestamp
    package var mp4: MP4

    /// Encoding that is going to fail does so after this share of its time, as in Cloudflare's own sample.
    private static let failurePoint = 0.39

    package init(_ video: StreamVideo, at now: Timestamp, stages: StageDurations) {
        let instructions = VideoInstructions(meta: video.meta)
        (phase, since) = Self.phase(of: video, at: now, stages: stages, instructions)
        mp4 = phase == .ready ? Self.mp4(of: video, at: now, stages: stages, instructions) : .none
    }

    /// When the video will be ready or failed; nil while its file is awaited.
    static func end(of video: StreamVideo, stages: StageDurations) -> Timestamp? {
        switch video.arrival {
        case .awaited: nil
        case .failed(let time, _): time
        case .arrived(let time, _, _):
            time + stages.queue
                + stages.encode * (VideoInstructions(meta: video.meta).errorCode == nil ? 1 : failurePoint)
        }
    }

    private static func phase(
        of video: StreamVideo, at now: Timestamp, stages: StageDurations, _ instructions: VideoInstructions
    ) -> (Phase, Timestamp) {
        let arrived: Timestamp
        switch video.arrival {
        case .awaited:
            if case .copy = video.origin { return (.downloading, video.created) }
            return (.pendingUpload, video.created)
        case .failed(let time, let code): return (.error(code: code, percent: nil), time)
        case .arrived(let time, _, _): arrived = time
        }
        // A file that came quicker than the least time of its stage.
        if now < arrived { return (.downloading, video.created) }
        let encodeStart = arrived + stages.queue
        if now < encodeStart { return (.queued, arrived) }
        let end = encodeStart + stages.encode * (instructions.errorCode == nil ? 1 : failurePoint)
        if now < end { return (.inProgress(percent: percent(now - encodeStart, of: stages.encode)), encodeStart) }
        if let code = instructions.errorCode { return (.error(code: code, percent: failurePoint * 100), end) }
        return (.ready, end)
    }

    private static func mp4(
        of video: StreamVideo, at now: Timestamp, stages: StageDurations, _ instructions: VideoInstructions
    ) -> MP4 {
        guard let request = video.mp4 else { return .none }
        let share = percent(now - request.requested, of: stages.mp4)
        switch instructions.mp4 {
        case .never: return .inProgress(percent: min(share, 99))
        case .error: return share < 100 ? .inProgress(percent: share) : .error
        case .errorOnce where request.attempt == 1: return share < 100 ? .inProgress(percent: share) : .error
        case .errorOnce, nil: return share < 100 ? .inProgress(percent: share) : .ready
        }
    }

    private static func percent(_ elapsed: Duration, of whole: Duration) -> Double {
        guard whole > .zero else { return 100 }
        return min(100, max(0, elapsed.inSeconds / whole.inSeconds * 100))
    }
}
