// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// Cloudflare's word on a video's MP4.
package struct StreamDownload: Sendable, Equatable {
    /// The word as it came; `state` is what we make of it.
    package var status: String?
    /// 0…100; a number here, where the video object has a string.
    package var percentComplete: Double?
    /// Given at once, but working only when `state` is `ready`.
    package var url: String?

    package init(status: String? = nil, percentComplete: Double? = nil, url: String? = nil) {
        self.status = status
        self.percentComplete = percentComplete
        self.url = url
    }

    package var state: CloudflareDownloadState? { status.flatMap(CloudflareDownloadState.init) }
}

extension StreamDownload: Decodable {
    private enum Keys: String, CodingKey {
        case status, percentComplete, url
    }

    package init(from decoder: any Decoder) throws {
        let object = try decoder.container(keyedBy: Keys.self)
        status = object.lenientText(.status)
        percentComplete = object.lenientNumber(.percentComplete)
        url = object.lenientText(.url)
    }
}

/// What the downloads API answers as `result`: downloads by type, or, as once documented, the only one flat.
/// An empty object means that none was asked for.
package struct StreamDownloads: Sendable, Equatable, Decodable {
    /// The MP4, type `default`; others, such as `audio`, are not ours.
    package var video: StreamDownload?

    private enum Keys: String, CodingKey {
        case `default`, status
    }

    package init(from decoder: any Decoder) throws {
        let object = try decoder.container(keyedBy: Keys.self)
        if let typed = object.lenient(StreamDownload.self, .default) {
            video = typed
        } else if object.lenientText(.status) != nil {
            video = try StreamDownload(from: decoder)
        }
    }
}
