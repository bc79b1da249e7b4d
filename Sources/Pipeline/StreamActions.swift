// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CloudflareStream

/// The actions that only ask Cloudflare Stream.
struct StreamActions: Sendable {
    let client: StreamClient

    /// Where the videos are, by one list call; what is missing there is asked for by itself before it counts as gone.
    func checkVideos(_ uids: [ClipUID]) async -> [ClipUID: ActionOutcome] {
        do throws(StreamError) {
            let found = try await client.videos(uids)
            var outcomes: [ClipUID: ActionOutcome] = [:]
            for uid in uids {
                if let video = found[uid] {
                    outcomes[uid] = .observed(video.observation)
                } else {
                    outcomes[uid] = await checkMissing(uid)
                }
            }
            return outcomes
        } catch {
            return Dictionary(uids.map { ($0, outcome(of: error)) }) { first, _ in first }
        }
    }

    private func checkMissing(_ uid: ClipUID) async -> ActionOutcome {
        do throws(StreamError) {
            guard let video = try await client.video(uid) else { return .failed(.videoMissing(uid)) }
            return .observed(video.observation)
        } catch {
            return outcome(of: error)
        }
    }

    /// Has the MP4 made. One that was asked for before and did not come is deleted first, which starts it anew.
    func requestMP4(_ request: ActionRequest) async -> ActionOutcome {
        do throws(StreamError) {
            if request.work.mp4Requests > 0 { try await client.deleteDownload(request.uid) }
            var observation =
                try await client.createDownload(request.uid)?.observation(of: request.uid)
                ?? Observation(status: nil)
            // Asked for is all that is known; how far it is, the next inquiry tells.
            if observation.status != .mp4Downloading { observation.status = .waitForMP4 }
            return .observed(observation)
        } catch {
            return error.code == .notFound ? .failed(.videoMissing(request.uid)) : outcome(of: error)
        }
    }

    func checkMP4(_ uid: ClipUID) async -> ActionOutcome {
        do throws(StreamError) {
            guard let download = try await client.download(uid) else {
                return .mp4Missing(
                    ActionFailure(
                        code: "mp4_missing", message: "Cloudflare has no MP4 of the clip, and none is being made",
                        isRetryable: true))
            }
            if download.state == .error {
                return .mp4Missing(
                    ActionFailure(
                        code: "mp4_failed", message: "Cloudflare could not make the MP4", isRetryable: true))
            }
            return .observed(download.observation(of: uid))
        } catch {
            return error.code == .notFound ? .failed(.videoMissing(uid)) : outcome(of: error)
        }
    }

    private func outcome(of error: StreamError) -> ActionOutcome {
        error.code == .cancelled ? .abandoned : .failed(error.actionFailure)
    }
}

extension ActionFailure {
    static func videoMissing(_ uid: ClipUID) -> ActionFailure {
        ActionFailure(
            code: "video_missing",
            message:
                "Cloudflare has no video \"\(uid)\" in this account: it was deleted, or it belongs to another account",
            isRetryable: false)
    }
}
