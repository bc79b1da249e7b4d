// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// A verified fact about one clip that asks for a status.
public struct Signal: Sendable, Equatable {
    /// What is asked for.
    public enum Request: Sendable, Equatable {
        case status(ClipStatus)
        /// A word that is none of our statuses; always rejected, always kept.
        case unknown(String)
        /// An operator's retry of a clip in `error`.
        case retry
    }

    public var uid: ClipUID
    public var source: SignalSource
    public var request: Request
    /// What was learnt besides, as a merge patch for `processing_details`; taken when the signal is applied or merged.
    public var details: Details
    /// How much of the requested status is done, 0…100, where somebody said so.
    public var percent: Double?
    /// Of the request that it comes from, directly or by an action.
    public var trace: TraceID?

    public init(
        uid: ClipUID, source: SignalSource, request: Request, details: Details = [:], percent: Double? = nil,
        trace: TraceID? = nil
    ) {
        self.uid = uid
        self.source = source
        self.request = request
        self.details = details
        self.percent = percent
        self.trace = trace
    }

    public init(
        uid: ClipUID, source: SignalSource, status: ClipStatus, details: Details = [:], percent: Double? = nil
    ) {
        self.init(uid: uid, source: source, request: .status(status), details: details, percent: percent)
    }
}

extension Signal.Request {
    /// A status by its name in the contract, or the word as unknown.
    public init(requestedStatus word: String) {
        self = ClipStatus(rawValue: word).map(Self.status) ?? .unknown(word)
    }
}

/// Who says so.
public enum SignalSource: String, CaseIterable, Codable, Sendable {
    /// A delivery from Cloudflare.
    case webhook
    /// The monitor asked Cloudflare.
    case poll
    /// The outcome of an action of ours.
    case pipeline
    /// The operator API.
    case `operator`
    /// Another program, by `processing_details.requested_status` or by inserting a row.
    case external
}
