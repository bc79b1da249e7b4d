// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle

/// A ledger entry with what only the store keeps of it.
public struct StoredEntry: Sendable, Equatable {
    public var entry: LedgerEntry
    /// Of the lease under which it was decided.
    public var epoch: Int64?
    public var decidedAt: Timestamp?

    public init(entry: LedgerEntry, epoch: Int64?, decidedAt: Timestamp?) {
        self.entry = entry
        self.epoch = epoch
        self.decidedAt = decidedAt
    }
}

/// A delivery with the hash by which it is recognised.
public struct StoredDelivery: Sendable, Equatable {
    public var record: DeliveryRecord
    public var bodySHA256: [UInt8]

    public init(record: DeliveryRecord, bodySHA256: [UInt8]) {
        self.record = record
        self.bodySHA256 = bodySHA256
    }
}

/// How far the numbers of a store go.
public struct StoreCounters: Sendable, Equatable {
    public var delivery: Int64
    public var entry: Int64
    public var change: Int64
    public var epoch: Int64

    public init(delivery: Int64, entry: Int64, change: Int64, epoch: Int64) {
        self.delivery = delivery
        self.entry = entry
        self.change = change
        self.epoch = epoch
    }
}

/// Copies everything that the bridge keeps from one store to another, numbers included, so that cursors and event
/// identifiers go on. Of the `clips` table it copies the rows that are the bridge's, and only its own columns.
///
/// A copy that was broken off goes on where it stopped. Neither store may be served meanwhile.
public struct StoreCopy: Sendable, Equatable {
    public var deliveries = 0
    public var entries = 0
    public var clips = 0
    public var transfers = 0
    /// What waits to be told to receivers outside.
    public var messages = 0
    /// Rows of the `clips` table that stay behind, because their status or uid is none of ours.
    public var foreignRows = 0

    /// - Parameters:
    ///   - script: takes rows in that other programs have inserted and the bridge has not met.
    ///   - progress: told after each page.
    /// - Throws: `StoreError` with `inUse` when the destination has a history of its own.
    public static func run(
        from source: some ClipStore, to destination: some ClipStore, by script: LedgerScript, page: Int = 500,
        progress: (StoreCopy) -> Void = { _ in }
    ) async throws -> StoreCopy {
        try await refuseStranger(source, destination)
        // What stays with its delivery is copied as what it is going to be.
        while try await source.write({ try LedgerScript.takeWaiting(limit: page, in: $0) }) > 0 {}
        var unmet: ClipUID?
        repeat {
            unmet = try await source.write { [unmet] in try script.adopt(after: unmet, limit: page, in: $0).next }
        } while unmet != nil
        var copy = StoreCopy()
        var last = try await destination.read { try $0.counters().delivery }
        while true {
            let found = try await source.read { [last] in try $0.storedDeliveries(after: last, limit: page) }
            guard let end = found.last else { break }
            try await destination.write { try found.forEach($0.restore) }
            last = end.record.id
            copy.deliveries += found.count
            progress(copy)
        }
        last = try await destination.read {
            try $0.pendingEntries(limit: 1).first.map { $0.seq - 1 } ?? $0.counters().entry
        }
        while true {
            let found = try await source.read { [last] in try $0.storedEntries(after: last, limit: page) }
            guard let end = found.last else { break }
            try await destination.write { try found.forEach($0.restore) }
            last = end.entry.seq
            copy.entries += found.count
            progress(copy)
        }
        try await copyClips(source, destination, page, &copy, progress)
        try await copyMessages(source, destination, page, &copy, progress)
        copy.foreignRows = try await source.read { try $0.foreignRowCount() }
        let counters = try await source.read { try $0.counters() }
        try await destination.write { try $0.raiseCounters(to: counters) }
        return copy
    }

    private static func copyClips(
        _ source: some ClipStore, _ destination: some ClipStore, _ page: Int, _ copy: inout StoreCopy,
        _ progress: (StoreCopy) -> Void
    ) async throws {
        var last: String?
        while true {
            let (uids, clips, transfers) = try await source.read { [last] transaction in
                let uids = try transaction.uids(after: last, limit: page)
                let clips = try uids.compactMap { try ClipUID($0).flatMap(transaction.clip) }.filter(\.isMet)
                let transfers = try clips.compactMap { clip in
                    try transaction.transfer(of: clip.uid).map { (uid: clip.uid, record: $0) }
                }
                return (uids, clips, transfers)
            }
            guard let end = uids.last else { return }
            try await destination.write { transaction in
                try transaction.lock(clips.map(\.uid))
                for var clip in clips {
                    // Whoever was at it is no more.
                    clip.work?.lease = nil
                    try transaction.restore(clip)
                }
                for transfer in transfers { try transaction.putTransfer(transfer.record, of: transfer.uid) }
            }
            last = end
            copy.clips += clips.count
            copy.transfers += transfers.count
            progress(copy)
        }
    }

    /// In their order; what an earlier copy has brought is not brought again.
    private static func copyMessages(
        _ source: some ClipStore, _ destination: some ClipStore, _ page: Int, _ copy: inout StoreCopy,
        _ progress: (StoreCopy) -> Void
    ) async throws {
        var last: Int64 = 0
        while true {
            let found = try await source.read { [last] in try $0.messages(after: last, limit: page) }
            guard let end = found.last else { return }
            try await destination.write { transaction in
                for message in found { try transaction.insertMessage(message) }
            }
            last = end.id
            copy.messages += found.count
            progress(copy)
        }
    }

    /// What the destination has already must be the source's.
    private static func refuseStranger(_ source: some ClipStore, _ destination: some ClipStore) async throws {
        let there = try await destination.read { transaction in
            let counters = try transaction.counters()
            return (
                try transaction.storedEntries(after: counters.entry - 1, limit: 1).first?.entry,
                try transaction.storedDeliveries(after: counters.delivery - 1, limit: 1).first
            )
        }
        let here = try await source.read { transaction in
            (
                try there.0.flatMap { try transaction.entry($0.seq) },
                try there.1.flatMap { try transaction.storedDeliveries(after: $0.record.id - 1, limit: 1).first }
            )
        }
        let isSameEntry = there.0?.signal == here.0?.signal && there.0?.at == here.0?.at
        guard isSameEntry, there.1 == here.1 else {
            throw StoreError(.inUse, "the destination has clips and webhooks of its own: copy into an empty store")
        }
    }
}
