// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore

/// Clips by what their uid begins with, and by a part of their name or uid.
///
/// Names are the application's JSON, which has no index: they are looked for in the clips that changed last.
struct ClipSearch: Sendable {
    static let newestMax = 2_000
    private static let pageMax = 500

    var text: String
    var status: ClipStatus?
    var limit: Int

    struct Result: Sendable {
        /// Newest change first.
        var clips: [ClipRecord]
        /// Whether there are clips whose names were not looked at.
        var isBounded: Bool
    }

    func find(in transaction: some StoreTransaction) throws -> Result {
        var (found, isBounded) = try amongNewest(transaction)
        for clip in try byUID(transaction) where !found.contains(where: { $0.uid == clip.uid }) { found.append(clip) }
        let clips = found.sorted { $0.changeSeq > $1.changeSeq }.prefix(limit)
        isBounded = isBounded && clips.count < limit
        return Result(clips: Array(clips), isBounded: isBounded)
    }

    private func byUID(_ transaction: some StoreTransaction) throws -> [ClipRecord] {
        guard let first = ClipUID(text) else { return [] }
        // Those that begin with it follow it at once in the order of uids.
        let following = try transaction.uids(after: text, limit: limit).prefix { $0.hasPrefix(text) }
        return try ([first] + following.compactMap { ClipUID($0) }).compactMap { try transaction.clip($0) }
            .filter { $0.isMet && (status == nil || $0.status == status) }
    }

    private func amongNewest(_ transaction: some StoreTransaction) throws -> ([ClipRecord], Bool) {
        let needle = text.lowercased()
        var (found, seen, before): ([ClipRecord], Int, Int64?) = ([], 0, nil)
        while seen < Self.newestMax {
            let page = try transaction.clips(status: status, before: before, limit: Self.pageMax)
            found += page.filter {
                $0.uid.rawValue.lowercased().contains(needle) || $0.name.lowercased().contains(needle)
            }
            if page.count < Self.pageMax || found.count >= limit { return (found, false) }
            seen += page.count
            before = page.last?.changeSeq
        }
        return (found, true)
    }
}
