// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// One video of the account, as far as it is remembered; where it stands follows from this and the time.
package struct StreamVideo: Sendable, Equatable {
    /// How the file comes here.
    package enum Origin: Sendable, Equatable {
        /// Fetched from a URL.
        case copy(url: String)
        /// Uploaded to a one-time URL that ends with this key.
        case directUpload(key: String)
        /// Uploaded with the request that made the video.
        case basicUpload
    }

    /// What became of that.
    package enum Arrival: Sendable, Equatable {
        case awaited
        case arrived(at: Timestamp, size: UInt64, etag: String)
        case failed(at: Timestamp, code: String)
    }

    package let uid: String
    let origin: Origin
    let created: Timestamp
    var edited: Timestamp
    package var arrival = Arrival.awaited
    package var meta: [String: JSONValue] = [:]
    var allowedOrigins: [String] = []
    var creator: String?
    package var requireSignedURLs = false
    var thumbnailTimestampPct = 0.0
    var maxDurationSeconds: Int64?
    var scheduledDeletion: String?
    var uploadExpiry: Timestamp?
    var publicDetails: [String: JSONValue]?
    package var mp4: MP4Request?

    /// The MP4 that somebody asked for.
    package struct MP4Request: Sendable, Equatable {
        package var requested: Timestamp
        /// From 1.
        package var attempt: Int

        package init(requested: Timestamp, attempt: Int) {
            self.requested = requested
            self.attempt = attempt
        }
    }

    /// How often an MP4 was asked for so far, one that was deleted again included.
    package var mp4Attempts = 0

    package init(uid: String, origin: Origin, created: Timestamp, edited: Timestamp) {
        self.uid = uid
        self.origin = origin
        self.created = created
        self.edited = edited
    }

    var name: String? { meta["name"]?.stringValue }

    /// Known with the file. There is no demuxer here, so it follows from the size at 2 Mbit/s.
    func duration(size: UInt64) -> Double { max(0.1, (Double(size) / 25_000).rounded() / 10) }
}

/// The instructions that a video's `meta` holds for the sandbox.
struct VideoInstructions: Sendable, Equatable {
    enum MP4: String, Sendable { case never, error, errorOnce = "error_once" }

    var errorCode: String?
    var mp4: MP4?

    init(meta: [String: JSONValue]) {
        errorCode = meta["sandbox_error"]?.stringValue
        mp4 = meta["sandbox_mp4"]?.stringValue.flatMap(MP4.init)
    }
}
