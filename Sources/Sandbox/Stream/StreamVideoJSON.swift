// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import FoundationEssentials

/// Writes videos as Cloudflare does.
package struct StreamVideoJSON: Sendable {
    let origin: String

    package init(origin: String) { self.origin = origin }

    /// As the API answers it: what is unknown is left out, as its OpenAPI description wants.
    package func answer(_ video: StreamVideo, _ state: StreamVideoState) -> JSONValue {
        .object(members(video, state, forWebhook: false))
    }

    /// As a webhook's body has it: the members of Cloudflare's own sample, nulls included.
    package func webhook(_ video: StreamVideo, _ state: StreamVideoState) -> JSONValue {
        var members = members(video, state, forWebhook: true)
        members["readyToStreamAt"] = nil
        for name in ["creator", "uploadExpiry", "maxSizeBytes", "maxDurationSeconds", "watermark"]
        where members[name] == nil {
            members[name] = .null
        }
        return .object(members)
    }

    private func members(
        _ video: StreamVideo, _ state: StreamVideoState, forWebhook: Bool
    ) -> [String: JSONValue] {
        let isReady = state.phase == .ready
        let media = "\(origin)/media/\(video.uid)"
        var members: [String: JSONValue] = [
            "uid": .string(video.uid),
            "readyToStream": .bool(isReady),
            "thumbnailTimestampPct": .double(video.thumbnailTimestampPct),
            "status": status(state.phase, forWebhook: forWebhook),
            "meta": .object(video.meta),
            "created": .string(Self.time(video.created)),
            "modified": .string(Self.time(max(video.edited, state.since))),
            "size": 0,
            "allowedOrigins": .array(video.allowedOrigins.map(JSONValue.string)),
            "requireSignedURLs": .bool(video.requireSignedURLs),
            "duration": -1,
            "input": ["width": -1, "height": -1],
            "playback": [
                "hls": .string("\(media)/manifest/video.m3u8"), "dash": .string("\(media)/manifest/video.mpd"),
            ],
        ]
        members["creator"] = video.creator.map(JSONValue.string)
        members["maxDurationSeconds"] = video.maxDurationSeconds.map(JSONValue.integer)
        members["scheduledDeletion"] = video.scheduledDeletion.map(JSONValue.string)
        members["uploadExpiry"] = video.uploadExpiry.map { .string(Self.time($0)) }
        members["publicDetails"] = video.publicDetails.map(JSONValue.object)
        if case .arrived(let time, let size, _) = video.arrival {
            members["uploaded"] = .string(Self.time(time))
            members["size"] = .integer(Int64(size))
            members["duration"] = .double(video.duration(size: size))
            members["input"] = ["width": 1920, "height": 1080]
        }
        if isReady {
            members["readyToStreamAt"] = .string(Self.time(state.since))
            members["preview"] = .string("\(media)/watch")
            members["thumbnail"] = .string("\(media)/thumbnails/thumbnail.jpg")
        }
        return members
    }

    private func status(_ phase: StreamVideoState.Phase, forWebhook: Bool) -> JSONValue {
        switch phase {
        case .pendingUpload: ["state": "pendingupload", "errorReasonCode": "", "errorReasonText": ""]
        case .downloading: ["state": "downloading", "errorReasonCode": "", "errorReasonText": ""]
        case .queued:
            ["state": "queued", "pctComplete": "0.000000", "errorReasonCode": "", "errorReasonText": ""]
        case .inProgress(let percent):
            [
                "state": "inprogress", "step": "encoding", "pctComplete": .string(Self.percent(percent)),
                "errorReasonCode": "", "errorReasonText": "",
            ]
        case .ready:
            ["state": "ready", "pctComplete": "100.000000", "errorReasonCode": "", "errorReasonText": ""]
        case .error(let code, let percent):
            failure(code: code, percent: percent, forWebhook: forWebhook)
        }
    }

    /// The API and the webhook's documented sample spell the reason differently.
    private func failure(code: String, percent: Double?, forWebhook: Bool) -> JSONValue {
        let prefix = forWebhook ? "errReason" : "errorReason"
        var status: [String: JSONValue] = [
            "state": "error", "\(prefix)Code": .string(code), "\(prefix)Text": .string(Self.text(ofError: code)),
        ]
        if let percent {
            status["step"] = "encoding"
            status["pctComplete"] = .string(forWebhook ? String(Int(percent)) : Self.percent(percent))
        }
        return .object(status)
    }

    /// `45` as `45.000000`
    static func percent(_ value: Double) -> String {
        let millionths = Int64((value * 1_000_000).rounded(.down))
        let fraction = String(millionths % 1_000_000)
        return "\(millionths / 1_000_000).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
    }

    /// RFC 3339 with microseconds, as Cloudflare writes it.
    static func time(_ time: Timestamp) -> String { time.rfc3339.dropLast() + "000Z" }

    private static func text(ofError code: String) -> String {
        switch code {
        case "ERR_NON_VIDEO": "The file was not recognized as a valid video file."
        case "ERR_DURATION_EXCEED_CONSTRAINT": "The video duration exceeds the constraints defined."
        case "ERR_FETCH_ORIGIN_ERROR": "The video failed to download from the URL specified."
        case "ERR_MALFORMED_VIDEO": "The video was deemed to be corrupted or malformed."
        case "ERR_DURATION_TOO_SHORT": "The video's duration is shorter than 0.1 seconds."
        default: "The video could not be processed for an unknown reason."
        }
    }
}
