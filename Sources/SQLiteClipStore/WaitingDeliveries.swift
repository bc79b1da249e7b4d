// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import GRDB
import NIOConcurrencyHelpers

/// Which deliveries' signals are not in the ledger yet, by their clips: an index that is worth no page of the disk,
/// because only one process writes and most wait for moments.
final class WaitingDeliveries: Sendable {
    struct Waiting: Sendable {
        var id: Int64
        var uid: ClipUID
    }

    /// Nil until somebody asks.
    private let ids = NIOLockedValueBox<[ClipUID: [Int64]]?>(nil)

    /// Of one clip, oldest first.
    /// - Parameter all: reads them from the database, with their clips.
    func ids(of uid: ClipUID, all: () throws -> [Row]) throws -> [Int64] {
        if let known = ids.withLockedValue({ $0 }) { return known[uid] ?? [] }
        let found = try all().reduce(into: [ClipUID: [Int64]]()) { found, row in
            if let uid = ClipUID(row[1] as String) { found[uid, default: []].append(row[0]) }
        }
        ids.withLockedValue { $0 = found }
        return found[uid] ?? []
    }

    /// To be told once in each transaction that adds or takes any, or reads them.
    func change(adding new: [Waiting], removing taken: [Waiting], in database: Database) {
        database.afterNextTransaction { _ in
            self.ids.withLockedValue { ids in
                for one in new { ids?[one.uid, default: []].append(one.id) }
                for one in taken {
                    ids?[one.uid]?.removeAll { $0 == one.id }
                    if ids?[one.uid]?.isEmpty == true { ids?[one.uid] = nil }
                }
            }
        } onRollback: { _ in
            // They may have been read within the transaction.
            self.ids.withLockedValue { $0 = nil }
        }
    }
}
