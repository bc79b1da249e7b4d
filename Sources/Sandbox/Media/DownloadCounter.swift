// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers

/// What was downloaded of one video's MP4.
package struct DownloadCount: Sendable, Equatable {
    /// Answered with 200 and the whole file: what Cloudflare bills.
    package var fullRequests = 0
    /// Answered with 206 and a part.
    package var rangeRequests = 0
    /// Body bytes given out.
    package var bytes: UInt64 = 0

    package init(fullRequests: Int = 0, rangeRequests: Int = 0, bytes: UInt64 = 0) {
        self.fullRequests = fullRequests
        self.rangeRequests = rangeRequests
        self.bytes = bytes
    }
}

/// Counts downloads by video.
final class DownloadCounter: Sendable {
    private let counts = NIOLockedValueBox<[String: DownloadCount]>([:])

    func count(of uid: String) -> DownloadCount { counts.withLockedValue { $0[uid] ?? DownloadCount() } }

    func change(_ uid: String, _ change: (inout DownloadCount) -> Void) {
        counts.withLockedValue { change(&$0[uid, default: DownloadCount()]) }
    }
}
