// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Our forward-only position of a clip on its way to R2.
public enum ClipStatus: String, CaseIterable, Codable, Sendable {
    /// The video is on its way to Cloudflare.
    case uploading
    /// Cloudflare has the file and will encode it.
    case queued
    /// Cloudflare is encoding.
    case processing
    /// Playable on Stream; no MP4 asked for yet.
    case streamReady = "stream_ready"
    /// The MP4 is asked for. May go back and forth with `mp4Processing`.
    case waitForMP4 = "waitformp4"
    /// Cloudflare is making the MP4. May go back and forth with `waitForMP4`.
    case mp4Processing = "mp4_processing"
    /// The MP4 is ready and is being fetched.
    case mp4Downloading = "mp4downloading"
    /// Bytes are on their way to R2.
    case r2Uploading = "r2_uploading"
    /// R2 has confirmed the object. Only an operator or another program can change it.
    case complete
    /// Stopped; only an operator's retry leads out.
    case error

    /// The contract's order, 1…10.
    public var order: Int {
        switch self {
        case .uploading: 1
        case .queued: 2
        case .processing: 3
        case .streamReady: 4
        case .waitForMP4: 5
        case .mp4Processing: 6
        case .mp4Downloading: 7
        case .r2Uploading: 8
        case .complete: 9
        case .error: 10
        }
    }

    /// The least progress shown in this status, in per cent.
    public var leastProgress: Double {
        switch self {
        case .uploading: 15
        case .queued: 30
        case .processing: 50
        case .streamReady: 60
        case .waitForMP4: 70
        case .mp4Processing: 75
        case .mp4Downloading: 85
        case .r2Uploading: 95
        case .complete: 100
        case .error: 100
        }
    }

    /// One sentence for people.
    public var message: String {
        switch self {
        case .uploading: "Uploading to Cloudflare"
        case .queued: "Queued for processing at Cloudflare"
        case .processing: "Being processed by Cloudflare"
        case .streamReady: "Ready for streaming, no MP4 yet"
        case .waitForMP4: "Waiting for the MP4 to be generated"
        case .mp4Processing: "The MP4 is being generated"
        case .mp4Downloading: "The MP4 is being downloaded"
        case .r2Uploading: "Uploading to R2"
        case .complete: "Complete"
        case .error: "Stopped by an error"
        }
    }

    /// Nothing is done for the clip any more.
    public var isTerminal: Bool { self == .complete || self == .error }

    /// Statuses that share one deadline, counted from entering the first of them.
    public var stage: Stage {
        switch self {
        case .uploading: .upload
        case .queued, .processing: .encode
        case .streamReady: .ready
        case .waitForMP4, .mp4Processing: .mp4
        case .mp4Downloading, .r2Uploading: .transfer
        case .complete, .error: .finished
        }
    }

    public enum Stage: String, Sendable {
        case upload, encode, ready, mp4, transfer, finished
    }
}

extension ClipStatus: Comparable {
    public static func < (left: Self, right: Self) -> Bool { left.order < right.order }
}
