// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import CloudflareStream

/// Turns a verified delivery's raw body into what it says. Pure.
package enum DeliveryInterpreter {
    package enum Interpretation: Sendable, Equatable {
        case accepted(Signal)
        case ignored(IgnoredReason, uid: ClipUID?)
        case malformed(MalformedReason)

        var verdict: Verdict {
            switch self {
            case .accepted: .accepted
            case .ignored(let reason, _): .ignored(reason)
            case .malformed(let reason): .malformed(reason)
            }
        }
    }

    /// All that the sender is told of it.
    enum Verdict: Sendable {
        case accepted
        case ignored(IgnoredReason)
        case malformed(MalformedReason)
    }

    /// Why a well-formed delivery moves nothing.
    package enum IgnoredReason: String, Sendable, CaseIterable {
        /// A notification about a live input.
        case liveEvent = "live_event"
        /// What saving a notification webhook sends.
        case test
        /// A live input's video while it is on the air.
        case liveInProgress = "live_inprogress"
        /// A state that we do not know.
        case unknownState = "unknown_state"
        /// A video object that names no state and no MP4.
        case noState = "no_state"
    }

    /// Why a delivery can not be used.
    package enum MalformedReason: String, Sendable, CaseIterable {
        case bodyMalformed = "body_malformed"
        case uidMissing = "uid_missing"
        case uidInvalid = "uid_invalid"

        package var message: String {
            switch self {
            case .bodyMalformed: "the body is not a JSON object in UTF-8"
            case .uidMissing: "the body has no \"uid\""
            case .uidInvalid: "\"uid\" is not a text of 1 to 32 of 0-9, a-z, A-Z, _ and -"
            }
        }
    }

    /// All that is looked at: a video's, the downloads API's answer and notifications'.
    private static let members = JSONNames(StreamVideo.members + ["result", "data", "text"])

    package static func interpret(_ body: [UInt8]) -> Interpretation {
        guard let object = JSONValue(json: body, keeping: members)?.objectValue else {
            return .malformed(.bodyMalformed)
        }
        if let uid = object["uid"], uid != .null {
            guard var video = StreamVideo(members: object) else { return .malformed(.uidInvalid) }
            // The downloads API's own answer with a uid beside it.
            video.download = video.download ?? object["result"].flatMap(StreamDownloads.init(json:))?.video
            return interpret(video)
        }
        if isLiveEvent(object) { return .ignored(.liveEvent, uid: nil) }
        if object.text("text")?.hasPrefix("Hello World!") == true { return .ignored(.test, uid: nil) }
        return .malformed(.uidMissing)
    }

    private static func isLiveEvent(_ object: [String: JSONValue]) -> Bool {
        guard let data = object.members("data") else { return false }
        return data.text("notification_name") == "Stream Live Input" || data.text("input_id") != nil
            || data.text("event_type")?.hasPrefix("live_input.") == true
    }

    private static func interpret(_ video: StreamVideo) -> Interpretation {
        let observation = video.observation
        if let status = observation.status {
            return .accepted(
                Signal(
                    uid: video.uid,
                    source: .webhook,
                    status: status,
                    details: observation.details,
                    percent: observation.percent
                )
            )
        }
        switch video.state {
        case .liveInProgress: return .ignored(.liveInProgress, uid: video.uid)
        case nil: return .ignored(.noState, uid: video.uid)
        case .unknown, .pendingUpload, .downloading, .queued, .inProgress, .ready, .error:
            return .ignored(.unknownState, uid: video.uid)
        }
    }
}
