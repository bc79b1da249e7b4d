// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import CloudflareStream
import FoundationEssentials

/// Turns a verified delivery's raw body into what it says. Pure.
package enum DeliveryInterpreter {
    package enum Interpretation: Sendable, Equatable {
        case accepted(Signal)
        case ignored(IgnoredReason, uid: ClipUID?)
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

    package static func interpret(_ body: [UInt8]) -> Interpretation {
        // The decoder would also take UTF-16 and UTF-32; JSON in UTF-8 holds no zero byte.
        guard !body.contains(0), String(validating: body, as: UTF8.self) != nil,
            let content = try? JSONDecoder().decode(Content.self, from: Data(body))
        else { return .malformed(.bodyMalformed) }
        switch content {
        case .video(let video): return interpret(video)
        case .liveEvent: return .ignored(.liveEvent, uid: nil)
        case .test: return .ignored(.test, uid: nil)
        case .withoutUID: return .malformed(.uidMissing)
        case .invalidUID: return .malformed(.uidInvalid)
        }
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

/// What kinds of JSON object arrive.
private enum Content: Decodable {
    case video(StreamVideo)
    case liveEvent, test, withoutUID, invalidUID

    private enum Keys: String, CodingKey {
        case uid, result, data, text
    }

    private enum DataKeys: String, CodingKey {
        case notificationName = "notification_name"
        case inputID = "input_id"
        case eventType = "event_type"
    }

    init(from decoder: any Decoder) throws {
        let object = try decoder.container(keyedBy: Keys.self)
        if object.contains(.uid), (try? object.decodeNil(forKey: .uid)) != true {
            guard object.lenient(ClipUID.self, .uid) != nil else {
                self = .invalidUID
                return
            }
            var video = try StreamVideo(from: decoder)
            // The downloads API's own answer with a uid beside it.
            video.download = video.download ?? object.lenient(StreamDownloads.self, .result)?.video
            self = .video(video)
        } else if Self.isLiveEvent(object) {
            self = .liveEvent
        } else if object.lenientText(.text)?.hasPrefix("Hello World!") == true {
            self = .test
        } else {
            self = .withoutUID
        }
    }

    private static func isLiveEvent(_ object: KeyedDecodingContainer<Keys>) -> Bool {
        guard let data = try? object.nestedContainer(keyedBy: DataKeys.self, forKey: .data) else { return false }
        return data.lenientText(.notificationName) == "Stream Live Input" || data.lenientText(.inputID) != nil
            || data.lenientText(.eventType)?.hasPrefix("live_input.") == true
    }
}
