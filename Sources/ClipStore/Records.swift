// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle

/// A clip as it is stored: its row, and what the bridge keeps beside it.
public struct ClipRecord: Sendable, Equatable {
    public var uid: ClipUID
    /// The row's own word; nil for SQL's null.
    public var statusWord: String?
    /// What decides and plans does without, so that it is only decoded when it is asked for.
    private var storedDetails: StoredDetails
    public var failedFrom: ClipStatus?
    public var progress: Double
    public var createdAt: Timestamp
    public var updatedAt: Timestamp
    /// The store's sequence number of the clip's last change.
    public var changeSeq: Int64
    public var work: Work?
    /// False for a row that another program inserted and that the bridge has not taken into its ledger yet.
    public var isMet: Bool

    private enum StoredDetails: Sendable {
        case decoded(Details)
        case text(String?)
    }

    public init(
        uid: ClipUID, statusWord: String?, details: Details, failedFrom: ClipStatus?, progress: Double,
        createdAt: Timestamp, updatedAt: Timestamp, changeSeq: Int64, work: Work? = nil,
        isMet: Bool = true
    ) {
        self.uid = uid
        self.statusWord = statusWord
        self.storedDetails = .decoded(details)
        self.failedFrom = failedFrom
        self.progress = progress
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.changeSeq = changeSeq
        self.work = work
        self.isMet = isMet
    }

    /// - Parameter detailsText: the column's JSON.
    package init(
        uid: ClipUID, statusWord: String?, detailsText: String?, failedFrom: ClipStatus?, progress: Double,
        createdAt: Timestamp, updatedAt: Timestamp, changeSeq: Int64, work: Work?, isMet: Bool
    ) {
        self.init(
            uid: uid, statusWord: statusWord, details: [:], failedFrom: failedFrom, progress: progress,
            createdAt: createdAt, updatedAt: updatedAt, changeSeq: changeSeq, work: work, isMet: isMet)
        storedDetails = .text(detailsText)
    }

    public var details: Details {
        get {
            switch storedDetails {
            case .decoded(let details): details
            case .text(let text): DetailsText.decodeObject(text)
            }
        }
        set { storedDetails = .decoded(newValue) }
    }

    /// Nil for a null or foreign status.
    public var status: ClipStatus? { statusWord.flatMap(ClipStatus.init(rawValue:)) }

    public var machine: ClipStateMachine {
        ClipStateMachine(
            position: status.map(ClipStateMachine.Position.at) ?? .foreign, failedFrom: failedFrom, progress: progress)
    }
}

extension ClipRecord {
    public static func == (left: ClipRecord, right: ClipRecord) -> Bool {
        left.uid == right.uid && left.statusWord == right.statusWord && left.details == right.details
            && left.failedFrom == right.failedFrom && left.progress == right.progress
            && left.createdAt == right.createdAt && left.updatedAt == right.updatedAt
            && left.changeSeq == right.changeSeq && left.work == right.work && left.isMet == right.isMet
    }
}

/// A stored delivery.
public struct DeliveryRecord: Sendable, Equatable {
    public var id: Int64
    public var receivedAt: Timestamp
    public var signedAt: Timestamp
    public var signatureHeader: String
    public var body: [UInt8]
    public var uid: ClipUID?
    public var outcome: DeliveryOutcome

    public init(
        id: Int64, receivedAt: Timestamp, signedAt: Timestamp, signatureHeader: String, body: [UInt8], uid: ClipUID?,
        outcome: DeliveryOutcome
    ) {
        self.id = id
        self.receivedAt = receivedAt
        self.signedAt = signedAt
        self.signatureHeader = signatureHeader
        self.body = body
        self.uid = uid
        self.outcome = outcome
    }
}

/// What goes on in a store at one moment.
public struct StoreActivity: Sendable, Equatable {
    /// Deliveries that were stored within the last minute, and within the last five.
    public var deliveriesLastMinute: Int
    public var deliveriesLastFiveMinutes: Int
    public var lastDeliveryAt: Timestamp?
    /// Transfers that somebody is at.
    public var runningTransfers: Int
    /// Of all work, that of the clip which has been in its stage the longest.
    public var longestWork: Work?

    public init(
        deliveriesLastMinute: Int = 0, deliveriesLastFiveMinutes: Int = 0, lastDeliveryAt: Timestamp? = nil,
        runningTransfers: Int = 0, longestWork: Work? = nil
    ) {
        self.deliveriesLastMinute = deliveriesLastMinute
        self.deliveriesLastFiveMinutes = deliveriesLastFiveMinutes
        self.lastDeliveryAt = lastDeliveryAt
        self.runningTransfers = runningTransfers
        self.longestWork = longestWork
    }
}

/// A row of the `clips` table in which another program asks for a status.
public struct RequestingRow: Sendable, Equatable {
    /// Any text: the row is the other program's.
    public var uid: String
    /// Nil for what is no string.
    public var requestedStatus: String?

    public init(uid: String, requestedStatus: String?) {
        self.uid = uid
        self.requestedStatus = requestedStatus
    }
}

/// A delivery's signal that has no entry in the ledger yet.
public struct WaitingSignal: Sendable, Equatable {
    public var delivery: Int64
    public var at: Timestamp
    public var signal: Signal

    public init(delivery: Int64, at: Timestamp, signal: Signal) {
        self.delivery = delivery
        self.at = at
        self.signal = signal
    }
}
