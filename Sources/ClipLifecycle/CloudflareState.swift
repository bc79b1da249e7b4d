// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Cloudflare's own word for where a video is: `status.state` of the Stream video object.
public enum CloudflareState: Hashable, Sendable {
    case pendingUpload, downloading, queued, inProgress, ready, error, liveInProgress
    case unknown(String)

    public init(_ word: String) {
        self =
            switch word {
            case "pendingupload": .pendingUpload
            case "downloading": .downloading
            case "queued": .queued
            case "inprogress": .inProgress
            case "ready": .ready
            case "error": .error
            case "live-inprogress": .liveInProgress
            default: .unknown(word)
            }
    }

    /// The status that the state asks for; nil for what moves nothing.
    public var requestedStatus: ClipStatus? {
        switch self {
        case .pendingUpload, .downloading: .uploading
        case .queued: .queued
        case .inProgress: .processing
        case .ready: .streamReady
        case .error: .error
        case .liveInProgress, .unknown: nil
        }
    }
}

/// Cloudflare's word for an MP4 download: `downloads.default.status`.
public enum CloudflareDownloadState: String, Sendable {
    case inProgress = "inprogress"
    case ready
    case error
}
