// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Decides what a signal does to a clip. The only place where the rules of a status' movement stand.
///
/// A value: no clock, no store, no log. The owner loads it from a clip's row, hands in signals in ledger order, and
/// writes what it says in one transaction.
public struct ClipStateMachine: Sendable, Equatable {
    /// What the clip's row holds.
    public enum Position: Sendable, Equatable {
        /// There is no row.
        case absent
        case at(ClipStatus)
        /// A status that is null or no word of ours: somebody else's, and left alone.
        case foreign
    }

    public enum Decision: Sendable, Equatable {
        /// The status is now `to`; `from` is nil for a clip that the signal created.
        case applied(from: ClipStatus?, to: ClipStatus)
        /// The same status again: only the details are taken.
        case merged(ClipStatus)
        case rejected(RejectionReason)
    }

    public private(set) var position: Position
    /// The status in which the clip failed; set exactly while it is in `error`.
    public private(set) var failedFrom: ClipStatus?
    /// What is shown, in per cent; it never falls.
    public private(set) var progress: Double

    public init(position: Position, failedFrom: ClipStatus? = nil, progress: Double = 0) {
        self.position = position
        self.failedFrom = failedFrom
        self.progress = progress
    }

    /// Takes one signal.
    /// - Parameter createsUnknown: whether a signal may create the clip that it speaks of.
    public mutating func receive(_ signal: Signal, createsUnknown: Bool) -> Decision {
        let decision = decide(signal, createsUnknown: createsUnknown)
        switch decision {
        case .applied(let from, let to):
            position = .at(to)
            failedFrom = to == .error ? (from ?? .uploading) : nil
            advanceProgress(to: to, percent: signal.percent)
        case .merged(let status):
            advanceProgress(to: status, percent: signal.percent)
        case .rejected:
            break
        }
        return decision
    }

    /// A percentage alone: moves progress within the present status, never down.
    public mutating func advance(percent: Double) {
        if case .at(let status) = position { advanceProgress(to: status, percent: percent) }
    }

    private func decide(_ signal: Signal, createsUnknown: Bool) -> Decision {
        switch (position, signal.request) {
        case (.foreign, _), (.at, .unknown):
            return .rejected(.unknownStatus)
        case (.absent, .unknown):
            return .rejected(createsUnknown ? .unknownStatus : .unknownClip)
        case (.absent, .retry):
            return .rejected(.unknownClip)
        case (.absent, .status(let requested)):
            return createsUnknown ? .applied(from: nil, to: requested) : .rejected(.unknownClip)
        case (.at(.error), .retry):
            // A finished clip is not trusted blindly again: R2 has to confirm it once more.
            let target = failedFrom ?? .uploading
            return .applied(from: .error, to: target == .complete ? .r2Uploading : target)
        case (.at, .retry):
            return .rejected(.backward)
        case (.at(let current), .status(let requested)):
            return Self.decide(from: current, to: requested, source: signal.source)
        }
    }

    /// The contract's rules in their order.
    private static func decide(from current: ClipStatus, to requested: ClipStatus, source: SignalSource) -> Decision {
        if current == requested { return .merged(current) }
        switch current {
        case .error:
            return .rejected(.terminal)
        case .complete:
            switch source {
            case .webhook, .poll, .pipeline: return .rejected(.terminal)
            case .operator, .external:
                return requested == .error ? .applied(from: current, to: .error) : .rejected(.backward)
            }
        case .waitForMP4, .mp4Processing, .uploading, .queued, .processing, .streamReady, .mp4Downloading,
            .r2Uploading:
            return mayFollow(current, requested)
                ? .applied(from: current, to: requested) : .rejected(.backward)
        }
    }

    /// Whether `next` may follow `current`, neither being final and both being different.
    private static func mayFollow(_ current: ClipStatus, _ next: ClipStatus) -> Bool {
        next == .error || next > current || (current == .mp4Processing && next == .waitForMP4)
    }

    private mutating func advanceProgress(to status: ClipStatus, percent: Double?) {
        guard status != .error else { return }
        progress = max(progress, status.progress(percent: percent))
    }
}

/// Why a signal changed nothing.
public enum RejectionReason: String, CaseIterable, Codable, Error, Sendable {
    /// It asks for a status that the clip has passed.
    case backward
    /// The clip is finished or stopped.
    case terminal
    /// There is no such clip, and none may be created.
    case unknownClip = "unknown_clip"
    /// The requested status or the row's own is no word of ours.
    case unknownStatus = "unknown_status"
}

extension ClipStatus {
    /// What is shown in this status when `percent` of it is done: from its least progress towards the next status'.
    public func progress(percent: Double?) -> Double {
        guard let next = next, let percent, percent.isFinite else { return leastProgress }
        let share = min(max(percent, 0), 100) / 100
        // One decimal is as much as anybody can see.
        return ((leastProgress + (next.leastProgress - leastProgress) * share) * 10).rounded() / 10
    }

    private var next: ClipStatus? {
        switch self {
        case .uploading: .queued
        case .queued: .processing
        case .processing: .streamReady
        case .streamReady: .waitForMP4
        case .waitForMP4: .mp4Processing
        case .mp4Processing: .mp4Downloading
        case .mp4Downloading: .r2Uploading
        case .r2Uploading: .complete
        case .complete, .error: nil
        }
    }
}
