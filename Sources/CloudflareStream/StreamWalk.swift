// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// A walk over all videos of the account, newest first, each of them once.
///
/// The list has no cursor: a page holds what was created before a time, and that time itself is left out. So pages
/// overlap, because videos of one moment may stand on both sides of a page's end and because times here are whole
/// milliseconds; what came before is dropped. The walk ends with a page that is not full and brings nothing new. Videos
/// that are created meanwhile are newer than its begin, and those that are deleted move nothing.
package struct StreamWalk: Sendable {
    /// How far pages overlap. The smaller one is for when more videos than fit a page were created within the larger.
    private static let overlaps: [Duration] = [.seconds(1), .milliseconds(1)]

    private let pageSize: Int
    private var seen: Set<ClipUID> = []
    private var bound: Timestamp?
    private var isAtEnd = false
    /// There was an entry without a valid uid.
    package private(set) var hasUnreadable = false

    /// - Parameter pageSize: videos to a call, at most 1,000.
    package init(pageSize: Int = 1_000) {
        self.pageSize = min(max(pageSize, 1), 1_000)
    }

    /// The next videos, which may be none; nil at the end.
    package mutating func nextPage(from client: StreamClient) async throws(StreamError) -> [StreamVideo]? {
        if isAtEnd { return nil }
        let page = try await client.listPage(before: bound, limit: pageSize)
        return try take(page)
    }

    private mutating func take(_ page: StreamPage) throws(StreamError) -> [StreamVideo] {
        if page.unreadable > 0 { hasUnreadable = true }
        var new: [StreamVideo] = []
        for video in page.videos where seen.insert(video.uid).inserted { new.append(video) }
        let isFull = page.videos.count + page.unreadable >= pageSize
        if isFull || !new.isEmpty, let next = nextBound(after: page) {
            bound = next
        } else if isFull {
            throw StreamError.unexpected(
                .listVideos, status: 200, why: "again with the same videos: the rest of them can not be listed")
        } else {
            isAtEnd = true
        }
        return new
    }

    /// Always earlier than the last one, so that the walk comes to an end whatever the answers are.
    private func nextBound(after page: StreamPage) -> Timestamp? {
        guard let oldest = page.videos.compactMap(\.created).min() else { return nil }
        let candidates = Self.overlaps.map { oldest + $0 }
        guard let bound else { return candidates.first }
        return candidates.first { $0 < bound }
    }
}
