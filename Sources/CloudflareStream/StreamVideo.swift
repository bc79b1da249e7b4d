// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// Cloudflare's video object, as far as it concerns us. Only `uid` has to be there.
///
/// Field names and words are Cloudflare's; they are translated once, by `observation`.
package struct StreamVideo: Sendable, Equatable {
    package var uid: ClipUID
    package var state: CloudflareState?
    /// How far encoding is, 0…100. A string upstream, and 39 beside `ready` in Cloudflare's own sample: `ready` means
    /// playable, while this is the share of the renditions that are done.
    package var pctComplete: Double?
    /// `encoding` or `manifest`.
    package var step: String?
    package var errorReasonCode: String?
    package var errorReasonText: String?
    package var readyToStream: Bool?
    package var requireSignedURLs: Bool
    package var thumbnail: String?
    package var hls: String?
    package var dash: String?
    /// Nil while unknown (-1 upstream).
    package var durationSeconds: Double?
    /// Of the uploaded file, not of the MP4; 0 for recordings.
    package var sizeBytes: Int64?
    package var name: String?
    package var liveInput: String?
    private var createdText: String?
    /// The MP4, where the object tells of it: Cloudflare's own never does, our "MP4 ready" event does.
    package var download: StreamDownload?

    package init(uid: ClipUID, state: CloudflareState? = nil) {
        self.uid = uid
        self.state = state
        self.requireSignedURLs = false
    }
}

extension StreamVideo {
    /// Read only when asked for: no webhook's is.
    package var created: Timestamp? { createdText.flatMap(Timestamp.init(rfc3339:)) }
}

extension StreamVideo: StreamResult {
    package init?(json: JSONValue) {
        guard let object = json.objectValue else { return nil }
        self.init(members: object)
    }

    /// The names of those that are read.
    package static let members = [
        "uid", "readyToStream", "requireSignedURLs", "thumbnail", "duration", "size", "liveInput", "created",
        "downloads", "meta", "playback", "status",
    ]

    package init?(members object: [String: JSONValue]) {
        guard let uid = object["uid"]?.stringValue.flatMap({ ClipUID($0) }) else { return nil }
        self.init(uid: uid)
        readyToStream = object["readyToStream"]?.boolValue
        requireSignedURLs = object["requireSignedURLs"]?.boolValue ?? false
        thumbnail = object.text("thumbnail")
        durationSeconds = object["duration"]?.numberValue.flatMap { $0 >= 0 ? $0 : nil }
        sizeBytes = object.whole("size")
        liveInput = object.text("liveInput")
        createdText = object.text("created")
        download = object["downloads"].flatMap(StreamDownloads.init(json:))?.video
        name = object.members("meta")?.text("name")
        if let playback = object.members("playback") {
            hls = playback.text("hls")
            dash = playback.text("dash")
        }
        if let status = object.members("status") {
            state = status.text("state").map(CloudflareState.init)
            pctComplete = status["pctComplete"]?.numberValue
            step = status.text("step")
            // The second is the spelling of the documented error sample, the first that of the specification.
            errorReasonCode = status.text("errorReasonCode") ?? status.text("errReasonCode")
            errorReasonText = status.text("errorReasonText") ?? status.text("errReasonText")
        }
    }
}
