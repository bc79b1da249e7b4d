// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// What a signal changes in a clip's row: the machine's decision, and the patch to `processing_details` that goes
/// with it.
public struct ClipUpdate: Sendable, Equatable {
    public var decision: ClipStateMachine.Decision
    /// The clip after the decision.
    public var machine: ClipStateMachine
    /// Empty when the signal was rejected.
    public var patch: Details

    public init(of machine: ClipStateMachine, by signal: Signal, createsUnknown: Bool, at now: Timestamp) {
        var machine = machine
        self.decision = machine.receive(signal, createsUnknown: createsUnknown)
        self.machine = machine
        switch decision {
        case .rejected:
            self.patch = [:]
        case .merged(let status):
            self.patch = Self.offered(signal)
            stamp(status: status, at: now)
        case .applied(_, let to):
            self.patch = Self.leaving.merging(Self.offered(signal)) { _, offered in offered }
            if to == .error { describeError(at: now) } else { Self.errorKeys.forEach { patch[$0] = .null } }
            stamp(status: to, at: now)
        }
    }

    /// A percentage and details without a signal.
    public init(of machine: ClipStateMachine, percent: Double?, details: Details, at now: Timestamp) {
        var machine = machine
        if let percent { machine.advance(percent: percent) }
        self.machine = machine
        self.patch = details.filter { !Self.reserved.contains($0.key) }
        guard case .at(let status) = machine.position else {
            self.decision = .rejected(.unknownStatus)
            self.patch = [:]
            return
        }
        self.decision = .merged(status)
        stamp(status: status, at: now)
    }

    /// Members that only the machine writes: whoever sends a signal can not set them.
    private static let reserved: Set<String> = [
        DetailKey.progress.rawValue, DetailKey.failedFrom.rawValue, DetailKey.lastUpdated.rawValue,
        DetailKey.statusMessage.rawValue, DetailKey.errorTime.rawValue,
        DetailKey.requestedStatus, DetailKey.statusRequestTime,
    ]

    /// What was true of the status that is left: the retry that was pending in it, and its live figures.
    private static let leaving: Details = Dictionary(
        uniqueKeysWithValues: ([.attempt, .nextAttemptAt] + DetailKey.liveFigures).map { ($0.rawValue, .null) })

    private static let errorKeys: [DetailKey] = [.errorCode, .errorMessage, .errorTime, .failedFrom]

    private static func offered(_ signal: Signal) -> Details {
        signal.details.filter { !reserved.contains($0.key) }
    }

    private mutating func describeError(at now: Timestamp) {
        if patch[.errorCode]?.stringValue == nil { patch[.errorCode] = "unspecified" }
        if patch[.errorMessage]?.stringValue == nil { patch[.errorMessage] = "no reason was given" }
        patch[.errorTime] = .string(now.rfc3339)
        patch[.failedFrom] = machine.failedFrom.map { .string($0.rawValue) } ?? .null
    }

    private mutating func stamp(status: ClipStatus, at now: Timestamp) {
        patch[.progress] = JSONValue(number: machine.progress)
        patch[.lastUpdated] = .string(now.rfc3339)
        if status != .error {
            patch[.statusMessage] = .string(status.message)
        } else if let why = patch[.errorMessage]?.stringValue {
            patch[.statusMessage] = .string("\(status.message): \(why)")
        }
    }
}

extension JSONValue {
    /// A number, whole where it is one.
    public init(number: Double) {
        self = Int64(exactly: number).map(JSONValue.integer) ?? .double(number)
    }
}
