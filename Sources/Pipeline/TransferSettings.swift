// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ObjectStorage

/// Where an MP4 may come from, what its object is called, and how it is cut.
package struct TransferSettings: Sendable {
    package var downloadHosts: DownloadHosts
    /// With `{uid}` in it.
    package var objectKey: String
    /// Without a slash at its end.
    package var publicURL: String?
    package var partBytes: UInt64
    /// Parts of one object that are on their way at a time.
    package var partsMax: Int

    package init(
        downloadHosts: DownloadHosts, objectKey: String = "videos/{uid}.mp4", publicURL: String? = nil,
        partBytes: UInt64 = 16 << 20, partsMax: Int = 3
    ) {
        self.downloadHosts = downloadHosts
        self.objectKey = objectKey
        self.publicURL = publicURL
        self.partBytes = partBytes
        self.partsMax = partsMax
    }

    func publicURL(of key: String) -> String? {
        publicURL.map { base in
            "\(base.hasSuffix("/") ? String(base.dropLast()) : base)/\(PercentEncoding.encode(key, keepingSlash: true))"
        }
    }
}
