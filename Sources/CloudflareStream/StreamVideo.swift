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
    package var created: Timestamp?
    package var modified: Timestamp?
    /// The MP4, where the object tells of it: Cloudflare's own never does, our "MP4 ready" event does.
    package var download: StreamDownload?

    package init(uid: ClipUID, state: CloudflareState? = nil) {
        self.uid = uid
        self.state = state
        self.requireSignedURLs = false
    }
}

extension StreamVideo: Decodable {
    private enum Keys: String, CodingKey {
        case uid, status, readyToStream, requireSignedURLs, thumbnail, playback, duration, size, meta, liveInput,
            created
        case modified, downloads
    }

    private enum StatusKeys: String, CodingKey {
        case state, pctComplete, step, errorReasonCode, errorReasonText
        // The spelling of the documented error sample, beside that of the specification.
        case errReasonCode, errReasonText
    }

    private enum PlaybackKeys: String, CodingKey {
        case hls, dash
    }

    private enum MetaKeys: String, CodingKey {
        case name
    }

    package init(from decoder: any Decoder) throws {
        let object = try decoder.container(keyedBy: Keys.self)
        self.init(uid: try object.decode(ClipUID.self, forKey: .uid))
        readyToStream = object.lenient(Bool.self, .readyToStream)
        requireSignedURLs = object.lenient(Bool.self, .requireSignedURLs) ?? false
        thumbnail = object.lenientText(.thumbnail)
        durationSeconds = object.lenientNumber(.duration).flatMap { $0 >= 0 ? $0 : nil }
        sizeBytes = object.lenientWhole(.size)
        liveInput = object.lenientText(.liveInput)
        created = object.lenientText(.created).flatMap(Timestamp.init(rfc3339:))
        modified = object.lenientText(.modified).flatMap(Timestamp.init(rfc3339:))
        download = object.lenient(StreamDownloads.self, .downloads)?.video
        if let meta = try? object.nestedContainer(keyedBy: MetaKeys.self, forKey: .meta) {
            name = meta.lenientText(.name)
        }
        if let playback = try? object.nestedContainer(keyedBy: PlaybackKeys.self, forKey: .playback) {
            hls = playback.lenientText(.hls)
            dash = playback.lenientText(.dash)
        }
        if let status = try? object.nestedContainer(keyedBy: StatusKeys.self, forKey: .status) {
            state = status.lenientText(.state).map(CloudflareState.init)
            pctComplete = status.lenientNumber(.pctComplete)
            step = status.lenientText(.step)
            errorReasonCode = status.lenientText(.errorReasonCode) ?? status.lenientText(.errReasonCode)
            errorReasonText = status.lenientText(.errorReasonText) ?? status.lenientText(.errReasonText)
        }
    }
}
