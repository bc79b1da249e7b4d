// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle

/// What waits to be told to a receiver outside, in the transaction's own outbox: it is there exactly if what it tells
/// of was committed.
public struct OutboxMessage: Sendable, Equatable {
    public enum Kind: String, CaseIterable, Sendable {
        /// A clip's change of status.
        case status
        /// A delivery of Cloudflare's, as it came.
        case delivery
    }

    /// The store's number: messages of one clip to one target go in this order.
    public var id: Int64
    /// A digest of the receiver's URL, which may be secret itself.
    public var target: String
    public var kind: Kind
    /// Nil for a delivery that names no clip.
    public var uid: ClipUID?
    /// The ledger entry's number or the delivery's: a target gets one message of each.
    public var source: Int64
    /// Empty for a delivery, whose body is the stored one.
    public var body: [UInt8]
    public var createdAt: Timestamp
    /// When it may be sent; while it is claimed, when the lease runs out.
    public var dueAt: Timestamp
    /// Failed tries.
    public var attempt: Int
    public var lease: Lease?

    public init(
        id: Int64 = 0, target: String, kind: Kind, uid: ClipUID?, source: Int64, body: [UInt8] = [],
        createdAt: Timestamp, dueAt: Timestamp? = nil, attempt: Int = 0, lease: Lease? = nil
    ) {
        self.id = id
        self.target = target
        self.kind = kind
        self.uid = uid
        self.source = source
        self.body = body
        self.createdAt = createdAt
        self.dueAt = dueAt ?? createdAt
        self.attempt = attempt
        self.lease = lease
    }
}

/// A message that was claimed, with what is sent.
public struct OutgoingMessage: Sendable, Equatable {
    public var message: OutboxMessage
    public var epoch: Int64
    /// Nil when the delivery was removed because of its age.
    public var body: [UInt8]?
    /// Cloudflare's own signature header, of a delivery.
    public var signatureHeader: String?

    public init(message: OutboxMessage, epoch: Int64, body: [UInt8]?, signatureHeader: String? = nil) {
        self.message = message
        self.epoch = epoch
        self.body = body
        self.signatureHeader = signatureHeader
    }
}

/// What happens in the outbox' transactions, written once for every store.
public enum OutboxScript {
    /// What becomes of a claimed message.
    public enum Ending: Sendable, Equatable {
        case removed
        /// It failed, and is tried again after this time.
        case postponed(Duration)
        /// It was not tried: it is due again as it was.
        case released
    }

    /// Claims messages to one target that are due: of each clip only the oldest.
    public static func claim(
        to target: String, owner: String, lease: Duration, limit: Int, at now: Timestamp,
        in store: some StoreTransaction
    ) throws -> [OutgoingMessage] {
        let now = store.now ?? now
        return try store.dueMessages(to: target, at: now, limit: limit).map { due in
            var message = due
            let epoch = try store.nextEpoch()
            message.lease = Lease(owner: owner, until: now + lease, epoch: epoch)
            message.dueAt = now + lease
            _ = try store.putMessage(message, heldUnder: due.lease?.epoch)
            guard message.kind == .delivery else {
                return OutgoingMessage(message: message, epoch: epoch, body: message.body)
            }
            let delivery = try store.delivery(message.source)
            return OutgoingMessage(
                message: message, epoch: epoch, body: delivery?.body, signatureHeader: delivery?.signatureHeader)
        }
    }

    /// - Returns: false when the lease is lost; nothing is changed then.
    public static func finish(
        _ outgoing: OutgoingMessage, _ ending: Ending, at now: Timestamp, in store: some StoreTransaction
    ) throws -> Bool {
        let now = store.now ?? now
        var message = outgoing.message
        message.lease = nil
        switch ending {
        case .removed:
            return try store.removeMessage(message.id, heldUnder: outgoing.epoch)
        case .postponed(let delay):
            message.attempt += 1
            message.dueAt = now + delay
        case .released:
            message.dueAt = now
        }
        return try store.putMessage(message, heldUnder: outgoing.epoch)
    }
}

extension LedgerScript {
    /// Puts a change of status into the outbox, once for every target.
    func announce(_ entry: LedgerEntry, in store: some StoreTransaction) throws {
        guard !notifyTargets.isEmpty, entry.outcome == .applied, entry.from != entry.to,
            let clip = try store.clip(entry.signal.uid)
        else { return }
        let body = try StatusChange.body(entry, clip: clip, at: now)
        for target in notifyTargets {
            try store.insertMessage(
                OutboxMessage(
                    target: target, kind: .status, uid: clip.uid, source: entry.seq, body: body, createdAt: now))
        }
    }
}

/// The body of a message that tells of a change of status.
enum StatusChange {
    static let type = "clip.status_changed"

    static func body(_ entry: LedgerEntry, clip: ClipRecord, at now: Timestamp) throws -> [UInt8] {
        let reason = entry.to == .error ? clip.details[.errorMessage] : nil
        let data: Details = [
            "uid": .string(clip.uid.rawValue),
            "status": entry.to.map { .string($0.rawValue) } ?? .null,
            "previous_status": entry.from.map { .string($0.rawValue) } ?? .null,
            "progress": JSONValue(number: clip.progress),
            "source": .string(entry.signal.source.rawValue),
            "reason": reason ?? .null,
            "seq": .integer(entry.seq),
            "processing_details": .object(clip.details),
        ]
        let whole: Details = [
            "type": .string(type), "timestamp": .string(now.rfc3339), "data": .object(data),
        ]
        return Array(DetailsText.encode(whole).utf8)
    }
}
