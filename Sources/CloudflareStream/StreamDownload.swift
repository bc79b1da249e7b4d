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

extension StreamDownload: StreamResult {
    package init?(json: JSONValue) {
        guard let object = json.objectValue else { return nil }
        status = object.text("status")
        percentComplete = object["percentComplete"]?.numberValue
        url = object.text("url")
    }
}

/// What the downloads API answers as `result`: downloads by type, or, as once documented, the only one flat.
/// An empty object means that none was asked for.
package struct StreamDownloads: Sendable, Equatable, StreamResult {
    /// The MP4, type `default`; others, such as `audio`, are not ours.
    package var video: StreamDownload?

    package init?(json: JSONValue) {
        guard let object = json.objectValue else { return nil }
        if let typed = object["default"].flatMap(StreamDownload.init(json:)) {
            video = typed
        } else if object.text("status") != nil {
            video = StreamDownload(json: json)
        }
    }
}
