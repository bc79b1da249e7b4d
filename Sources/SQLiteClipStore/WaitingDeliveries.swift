// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import GRDB
import NIOConcurrencyHelpers

/// Which deliveries' signals are not in the ledger yet, by their clips: an index that is worth no page of the disk,
/// because only one process writes and most wait for moments.
///
/// It is told of each transaction from outside, before and after: GRDB's observers do not hear of a COMMIT that fails
/// and that SQLite takes back by itself, as on a full disk, and take the next one for it.
final class WaitingDeliveries: Sendable {
    struct Waiting: Sendable {
        var id: Int64
        var uid: ClipUID
    }

    /// What a transaction does.
    struct Change: Sendable {
        var added: [Waiting] = []
        var taken: [Waiting] = []
    }

    private struct State {
        /// Nil until somebody asks.
        var ids: [ClipUID: [Int64]]?
        var isInTransaction = false
        /// They were read within this transaction.
        var areNew = false
    }

    private let state = NIOLockedValueBox(State())

    /// A transaction begins. If the last one has not ended, nobody knows what has become of it.
    func begin() {
        state.withLockedValue { state in
            if state.isInTransaction { state.ids = nil }
            (state.isInTransaction, state.areNew) = (true, false)
        }
    }

    /// The transaction has failed before its COMMIT.
    func rolledBack() {
        state.withLockedValue { state in
            if state.areNew { state.ids = nil }
            state.isInTransaction = false
        }
    }

    /// The transaction is committed.
    func end(_ change: Change) {
        state.withLockedValue { state in
            state.isInTransaction = false
            for one in change.added { state.ids?[one.uid, default: []].append(one.id) }
            guard state.ids != nil else { return }
            for (uid, taken) in Dictionary(grouping: change.taken, by: \.uid) {
                let ids = Set(taken.map(\.id))
                state.ids?[uid]?.removeAll { ids.contains($0) }
                if state.ids?[uid]?.isEmpty == true { state.ids?[uid] = nil }
            }
        }
    }

    /// Of one clip, oldest first.
    /// - Parameter all: reads them from the database, with their clips.
    func ids(of uid: ClipUID, all: () throws -> [Row]) throws -> [Int64] {
        if let known = state.withLockedValue({ $0.ids }) { return known[uid] ?? [] }
        let found = try all().reduce(into: [ClipUID: [Int64]]()) { found, row in
            if let uid = ClipUID(row[1] as String) { found[uid, default: []].append(row[0]) }
        }
        state.withLockedValue { ($0.ids, $0.areNew) = (found, true) }
        return found[uid] ?? []
    }
}
