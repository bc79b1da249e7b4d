// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// The members of a clip's `processing_details`, or a patch to them.
///
/// A patch is a JSON merge patch (RFC 7396): a member that is null is removed, an object is merged into an object, and
/// any other member replaces. All stores merge by this rule.
public typealias Details = [String: JSONValue]

extension Details {
    /// Applies a JSON merge patch (RFC 7396).
    public mutating func merge(patch: Details) {
        for (key, value) in patch {
            switch value {
            case .null:
                self[key] = nil
            case .object(let inner):
                var target = self[key]?.objectValue ?? [:]
                target.merge(patch: inner)
                self[key] = .object(target)
            case .bool, .integer, .double, .string, .array:
                self[key] = value
            }
        }
    }

    public subscript(key: DetailKey) -> JSONValue? {
        get { self[key.rawValue] }
        set { self[key.rawValue] = newValue }
    }
}

/// The members of `processing_details` that the bridge writes.
public enum DetailKey: String, CaseIterable, Sendable {
    case cloudflareStatus = "cloudflare_status"
    case progress
    case statusMessage = "status_message"
    case lastUpdated = "last_updated"
    case thumbnailURL = "thumbnail_url"
    case hlsURL = "hls_url"
    case dashURL = "dash_url"
    case duration
    case mp4Status = "mp4_status"
    case mp4PercentComplete = "mp4_percent_complete"
    case mp4DownloadURL = "mp4_download_url"
    case r2Key = "r2_key"
    case r2ETag = "r2_etag"
    case r2Size = "r2_size"
    case r2PublicURL = "r2_public_url"
    case r2UploadComplete = "r2_upload_complete"
    case errorCode = "error_code"
    case errorMessage = "error_message"
    case errorTime = "error_time"
    case failedFrom = "failed_from"
    case attempt
    case nextAttemptAt = "next_attempt_at"
    /// Bytes of the running download or put that are done.
    case transferBytes = "transfer_bytes"
    case transferTotalBytes = "transfer_total_bytes"
    case transferBytesPerSecond = "transfer_bytes_per_second"
    case transferSecondsLeft = "transfer_seconds_left"
    /// What the video is called at Cloudflare.
    case name
}

extension DetailKey {
    /// True only while a transfer runs, and removed with the status that they belong to.
    static let liveFigures: [DetailKey] = [
        .transferBytes, .transferTotalBytes, .transferBytesPerSecond, .transferSecondsLeft,
    ]

    /// Set by any program that asks for a status; the monitor lifts it into the ledger and removes it.
    public static let requestedStatus = "requested_status"
    /// When `requestedStatus` was set; removed with it.
    public static let statusRequestTime = "status_request_time"
}
