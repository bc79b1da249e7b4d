// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// A signal in the ledger, with what became of it.
public struct LedgerEntry: Sendable, Equatable {
    public enum Outcome: String, CaseIterable, Codable, Sendable {
        case applied, merged, rejected
    }

    public var seq: Int64
    /// When the signal was stored.
    public var at: Timestamp
    public var signal: Signal
    /// The delivery that brought it.
    public var delivery: String?
    /// Nil until it is decided.
    public var outcome: Outcome?
    public var reason: RejectionReason?
    public var from: ClipStatus?
    public var to: ClipStatus?

    public init(
        seq: Int64, at: Timestamp, signal: Signal, delivery: String? = nil, outcome: Outcome? = nil,
        reason: RejectionReason? = nil, from: ClipStatus? = nil, to: ClipStatus? = nil
    ) {
        self.seq = seq
        self.at = at
        self.signal = signal
        self.delivery = delivery
        self.outcome = outcome
        self.reason = reason
        self.from = from
        self.to = to
    }

    /// Writes the decision into the entry.
    public mutating func settle(_ decision: ClipStateMachine.Decision, before: ClipStateMachine) {
        switch decision {
        case .applied(let from, let to):
            (outcome, reason, self.from, self.to) = (.applied, nil, from, to)
        case .merged(let status):
            (outcome, reason, self.from, self.to) = (.merged, nil, status, status)
        case .rejected(let why):
            let status: ClipStatus? = if case .at(let status) = before.position { status } else { nil }
            (outcome, reason, self.from, self.to) = (.rejected, why, status, status)
        }
    }

    /// The word that was asked for; a retry asks for the status that it returns to.
    public var requestedStatus: String? {
        switch signal.request {
        case .status(let status): status.rawValue
        case .unknown(let word): word
        case .retry: to?.rawValue
        }
    }
}
