// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// One page of a bucket's keys: pure, on sorted keys.
struct S3Listing: Equatable {
    enum Entry: Equatable {
        case key(ObjectKey)
        case commonPrefix(ObjectKey)
    }

    var entries: [Entry] = []
    /// The last entry's text where there is more; a page goes on behind it.
    var next: ObjectKey?

    init(
        of keys: [ObjectKey], prefix: ObjectKey, delimiter: ObjectKey?, after: ObjectKey?, entriesMax: Int
    ) {
        guard entriesMax > 0 else { return }
        var last: ObjectKey?
        for key in keys where key.hasPrefix(prefix) {
            if let after, key < after || key == after { continue }
            let group = delimiter.flatMap { key.commonPrefix(behind: prefix, delimiter: $0) }
            if let group, group == last || group == after { continue }
            if entries.count == entriesMax {
                next = last
                return
            }
            entries.append(group.map(Entry.commonPrefix) ?? .key(key))
            last = group ?? key
        }
    }
}
