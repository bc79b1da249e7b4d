// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// One POST of a webhook whose signature was valid, as it is to be stored.
public struct NewDelivery: Sendable, Equatable {
    public var receivedAt: Timestamp
    /// The `time` of the signature header.
    public var signedAt: Timestamp
    /// The header `Webhook-Signature` as it came.
    public var signatureHeader: String
    /// The raw body, byte for byte.
    public var body: [UInt8]
    /// SHA-256 of `body`, 32 bytes: by it a repeated delivery is recognised.
    public var bodySHA256: [UInt8]
    public var uid: ClipUID?
    public var outcome: DeliveryOutcome
    /// What the delivery says; nil unless `outcome` is `accepted`.
    public var signal: Signal?
    /// The targets, by their ids, that it is passed on to.
    public var forwardTargets: [String] = []

    public init(
        receivedAt: Timestamp, signedAt: Timestamp, signatureHeader: String, body: [UInt8], bodySHA256: [UInt8],
        uid: ClipUID?, outcome: DeliveryOutcome, signal: Signal?
    ) {
        self.receivedAt = receivedAt
        self.signedAt = signedAt
        self.signatureHeader = signatureHeader
        self.body = body
        self.bodySHA256 = bodySHA256
        self.uid = uid
        self.outcome = outcome
        self.signal = signal
    }
}

/// What a delivery was taken for.
public enum DeliveryOutcome: String, CaseIterable, Codable, Sendable {
    /// Its signal is in the ledger.
    case accepted
    /// A live event, a test or an unknown state: kept, without a signal.
    case ignored
    /// Not a video object with a valid uid: kept, and refused.
    case malformed
}

/// What became of a delivery in the store; durable when it is given.
public enum DeliveryReceipt: Sendable, Equatable {
    case stored(id: String)
    /// The same body is there already, under this id.
    case duplicate(of: String)
}

/// Where the receiver puts deliveries.
public protocol DeliveryLedger: Sendable {
    /// - Parameter onEnd: runs once, on any thread, when the delivery and its signal are durable or why they are not is
    ///   known. It has to return at once: a task for each delivery would cost more than the rest of its way.
    func record(_ delivery: NewDelivery, onEnd: @escaping @Sendable (Result<DeliveryReceipt, any Error>) -> Void)
}

extension DeliveryLedger {
    /// Returns when the delivery and its signal are durable.
    public func record(_ delivery: NewDelivery) async throws -> DeliveryReceipt {
        try await withCheckedThrowingContinuation { continuation in
            record(delivery) { continuation.resume(with: $0) }
        }
    }
}
