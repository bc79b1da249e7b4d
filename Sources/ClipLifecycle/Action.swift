// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// One piece of outbound work for a clip.
public enum Action: String, CaseIterable, Codable, Sendable {
    /// Ask Cloudflare where the video is.
    case checkVideo = "check_video"
    /// Ask Cloudflare to make the MP4.
    case requestMP4 = "request_mp4"
    /// Ask Cloudflare how far the MP4 is.
    case checkMP4 = "check_mp4"
    /// Fetch the MP4 to the spool, put it to R2, have R2 confirm it.
    case transfer

    /// Whether it is an inquiry that may come round often, as opposed to a step that moves the clip.
    public var isPoll: Bool {
        switch self {
        case .checkVideo, .checkMP4: true
        case .requestMP4, .transfer: false
        }
    }
}

extension ClipStatus {
    /// The action that the status calls for by itself; nil where nothing is to be done or an operator has to ask.
    public func action(requestsMP4: Bool) -> Action? {
        switch self {
        case .uploading, .queued, .processing: .checkVideo
        case .streamReady: requestsMP4 ? .requestMP4 : nil
        case .waitForMP4, .mp4Processing: .checkMP4
        case .mp4Downloading, .r2Uploading: .transfer
        case .complete, .error: nil
        }
    }

    /// The actions that make sense in the status.
    public func allows(_ action: Action) -> Bool {
        switch action {
        case .checkVideo: self <= .processing
        case .requestMP4: (.streamReady ... .mp4Processing).contains(self)
        case .checkMP4: self == .waitForMP4 || self == .mp4Processing
        case .transfer: self == .mp4Downloading || self == .r2Uploading
        }
    }
}

/// The one piece of work that a clip has, when it is due and who is at it.
public struct Work: Sendable, Equatable {
    public var uid: ClipUID
    public var action: Action
    public var dueAt: Timestamp
    /// Failures in a row; 0 while all is well. Waiting is no attempt, and neither is a shutdown.
    public var attempt: Int
    /// Polls in a row that brought nothing new.
    public var polls: Int
    /// Processes that died during it without any progress in between.
    public var crashes: Int
    public var firstFailedAt: Timestamp?
    /// When the clip entered the stage that its deadline counts from.
    public var stageEnteredAt: Timestamp
    /// How often the MP4 was asked for.
    public var mp4Requests: Int
    /// The last percentage that was seen, and when, to tell the pace.
    public var percent: Double?
    public var percentAt: Timestamp?
    public var lease: Lease?
    /// Of the request that brought it about.
    public var trace: TraceID?

    public init(uid: ClipUID, action: Action, dueAt: Timestamp, stageEnteredAt: Timestamp, mp4Requests: Int = 0) {
        self.uid = uid
        self.action = action
        self.dueAt = dueAt
        self.attempt = 0
        self.polls = 0
        self.crashes = 0
        self.firstFailedAt = nil
        self.stageEnteredAt = stageEnteredAt
        self.mp4Requests = mp4Requests
        self.percent = nil
        self.percentAt = nil
        self.lease = nil
        self.trace = nil
    }
}

/// A time-limited claim on a clip's work by one process.
public struct Lease: Sendable, Equatable {
    public var owner: String
    public var until: Timestamp
    /// Grows with every claim in the store; what an action writes names it, and an older one changes nothing.
    public var epoch: Int64

    public init(owner: String, until: Timestamp, epoch: Int64) {
        self.owner = owner
        self.until = until
        self.epoch = epoch
    }
}

/// An action handed out under a lease, with what it needs to know of the clip.
public struct ActionRequest: Sendable, Equatable {
    public var work: Work
    public var status: ClipStatus
    public var details: Details
    public var epoch: Int64

    public init(work: Work, status: ClipStatus, details: Details, epoch: Int64) {
        self.work = work
        self.status = status
        self.details = details
        self.epoch = epoch
    }

    public var uid: ClipUID { work.uid }
    public var action: Action { work.action }
}

/// What an action found or did.
public enum ActionOutcome: Sendable, Equatable {
    /// The clip is, or now is, in this status, as far as the asked party says.
    case observed(Observation)
    /// Cloudflare can not make the MP4, has lost it or was never asked: it has to be asked for (again).
    case mp4Missing(ActionFailure)
    case failed(ActionFailure)
    /// Given up because the process is stopping or the lease is lost: no attempt.
    case abandoned
    /// The action's own last report said all there is to say.
    case reported
}

/// A reading of a clip, by a poll or from a step of ours.
public struct Observation: Sendable, Equatable {
    /// Nil where the reading says nothing about a status.
    public var status: ClipStatus?
    public var percent: Double?
    public var details: Details

    public init(status: ClipStatus?, percent: Double? = nil, details: Details = [:]) {
        self.status = status
        self.percent = percent
        self.details = details
    }
}

/// Why an action did not succeed, in words an operator can use.
public struct ActionFailure: Error, Sendable, Equatable {
    /// One word out of a bounded set.
    public var code: String
    public var message: String
    public var isRetryable: Bool
    /// What the peer asked for by `Retry-After`.
    public var retryAfter: Duration?
    /// Not the clip's fault nor a try at it, such as a full disk or a spent budget: waited out without counting.
    public var isWaiting: Bool

    public init(
        code: String, message: String, isRetryable: Bool, retryAfter: Duration? = nil, isWaiting: Bool = false
    ) {
        self.code = code
        self.message = message
        self.isRetryable = isRetryable
        self.retryAfter = retryAfter
        self.isWaiting = isWaiting
    }
}

/// Performs actions. All requests of one call are for the same action; only `checkVideo` comes in batches.
public protocol ActionPerformer: Sendable {
    /// Answers for every request, and never throws: a failure is an outcome.
    func perform(_ requests: [ActionRequest], reporter: any ActionReporter) async -> [ClipUID: ActionOutcome]
}

/// Takes what a running action learns on its way.
public protocol ActionReporter: Sendable {
    /// Durable when it returns. False when the lease is lost: the action must stop and change nothing more, here or
    /// elsewhere.
    func report(_ observation: Observation, for request: ActionRequest) async throws -> Bool
    /// What is known of the clip's transfer.
    func transfer(for request: ActionRequest) async throws -> TransferRecord?
    /// Keeps what a new process needs to go on, or with nil forgets it. False when the lease is lost.
    func save(_ transfer: TransferRecord?, for request: ActionRequest) async throws -> Bool
    /// Keeps one part of the clip's transfer. False when the lease is lost.
    func save(_ part: TransferPart, for request: ActionRequest) async throws -> Bool
}

/// Takes a signal into the ledger and has it decided.
public protocol SignalSink: Sendable {
    func submit(_ signal: Signal) async throws -> LedgerEntry
}
