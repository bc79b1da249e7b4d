// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import HTTPTypes
import Hummingbird

/// The two routes that older applications know.
extension OperatorAPI {
    func videoUID(_ request: Request) async throws -> ClipUID { try await request.jsonObject().uid("videoUid") }

    func enableMP4(_ uid: ClipUID) async throws -> Response {
        var clip = try await clip(uid)
        if let status = clip.status, status < .streamReady {
            try await askCloudflareOnce(uid, status: status)
            clip = try await self.clip(uid)
        }
        let status = try usable(clip)
        guard status == .streamReady else {
            return answer(.ok, uid, status, "the MP4 was asked for already")
        }
        let script = script()
        _ = try await store.write { try script.expedite(uid, .requestMP4, in: $0) }
        actions.wake()
        return answer(.accepted, uid, status, "the MP4 is being asked for")
    }

    func uploadToR2(_ uid: ClipUID) async throws -> Response {
        let clip = try await clip(uid)
        let status = try usable(clip)
        switch status {
        case .uploading, .queued, .processing, .streamReady:
            throw Problem.conflict(
                "the clip is in \"\(status.rawValue)\": its MP4 was not asked for yet, see enable-mp4")
        case .waitForMP4, .mp4Processing:
            return try await expedite(uid, status, .checkMP4, "the MP4 is looked for now; the upload follows by itself")
        case .mp4Downloading, .r2Uploading:
            if clip.work?.lease != nil { throw Problem.conflict("the clip's transfer is running already") }
            return try await expedite(uid, status, .transfer, "the transfer to R2 is due now")
        case .complete:
            return .json([
                "message": .string(status.message), "status": .string(status.rawValue),
                "videoUid": .string(uid.rawValue), "publicUrl": clip.details[.r2PublicURL] ?? .null,
                "key": clip.details[.r2Key] ?? .null, "size": clip.details[.r2Size] ?? .null,
            ])
        case .error:
            throw Problem.conflict(retryHint(uid))
        }
    }

    private func expedite(
        _ uid: ClipUID, _ status: ClipStatus, _ action: Action, _ message: String
    ) async throws -> Response {
        let script = script()
        _ = try await store.write { try script.expedite(uid, action, in: $0) }
        actions.wake()
        return answer(.accepted, uid, status, message)
    }

    /// The webhook may only be late: Cloudflare's word decides.
    private func askCloudflareOnce(_ uid: ClipUID, status: ClipStatus) async throws {
        switch await actions.checkVideo(uid) {
        case .observed(let observation):
            guard let seen = observation.status, seen >= .streamReady else {
                let word = observation.details[.cloudflareStatus]?.stringValue ?? "not ready"
                throw Problem.conflict(
                    "the clip is in \"\(status.rawValue)\", and Cloudflare says \"\(word)\": the MP4 can be asked for "
                        + "once it is ready for streaming")
            }
            _ = try await actions.submit(
                Signal(
                    uid: uid, source: .poll, status: seen, details: observation.details, percent: observation.percent))
        case .failed(let failure), .mp4Missing(let failure):
            if !failure.isRetryable { throw Problem.conflict(failure.message) }
            throw Problem(
                status: .badGateway, detail: "Cloudflare could not be asked: \(failure.message)",
                headers: [.retryAfter: "5"])
        case .abandoned, .reported:
            throw Problem.unavailable("the bridge is stopping: try again")
        }
    }

    private func usable(_ clip: ClipRecord) throws -> ClipStatus {
        guard let status = clip.status else {
            throw Problem.conflict("the clip's status \"\(clip.statusWord ?? "null")\" is none of ours")
        }
        if status == .error { throw Problem.conflict(retryHint(clip.uid)) }
        return status
    }

    private func retryHint(_ uid: ClipUID) -> String {
        "the clip is in \"error\": see why with GET /api/clips/\(uid), then POST /api/clips/\(uid)/retry"
    }

    private func answer(
        _ code: HTTPResponse.Status, _ uid: ClipUID, _ status: ClipStatus, _ message: String
    ) -> Response {
        .json(
            ["message": .string(message), "status": .string(status.rawValue), "videoUid": .string(uid.rawValue)],
            status: code)
    }
}
