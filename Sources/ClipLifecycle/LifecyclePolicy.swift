// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// The choices and limits by which clips are led on their way.
public struct LifecyclePolicy: Sendable, Equatable {
    /// A delivery for an unknown clip creates it.
    public var createsUnknownClips: Bool
    /// The MP4 is asked for without an operator.
    public var requestsMP4: Bool
    public var pollMin: Duration
    public var pollMax: Duration
    /// From entering `uploading`.
    public var uploadDeadline: Duration
    /// From entering `queued` or `processing`.
    public var encodeDeadline: Duration
    /// From asking for the MP4.
    public var mp4Deadline: Duration
    /// How long a step may go on failing in passing ways before the clip is stopped.
    public var failureBudget: Duration
    /// How long a step may wait for something that is not the clip's fault, such as room on the disk.
    public var waitBudget: Duration
    public var retryMin: Duration
    public var retryMax: Duration
    /// MP4 requests altogether; one more than the contract's "once more".
    public var mp4RequestsMax: Int
    /// Processes that may die over one clip.
    public var crashesMax: Int

    public init(
        createsUnknownClips: Bool = true,
        requestsMP4: Bool = true,
        pollMin: Duration = .seconds(2),
        pollMax: Duration = .seconds(60),
        uploadDeadline: Duration = .seconds(86_400),
        encodeDeadline: Duration = .seconds(86_400),
        mp4Deadline: Duration = .seconds(3_600),
        failureBudget: Duration = .seconds(6 * 3_600),
        waitBudget: Duration = .seconds(86_400),
        retryMin: Duration = .seconds(1),
        retryMax: Duration = .seconds(300),
        mp4RequestsMax: Int = 2,
        crashesMax: Int = 3
    ) {
        self.createsUnknownClips = createsUnknownClips
        self.requestsMP4 = requestsMP4
        self.pollMin = pollMin
        self.pollMax = pollMax
        self.uploadDeadline = uploadDeadline
        self.encodeDeadline = encodeDeadline
        self.mp4Deadline = mp4Deadline
        self.failureBudget = failureBudget
        self.waitBudget = waitBudget
        self.retryMin = retryMin
        self.retryMax = retryMax
        self.mp4RequestsMax = mp4RequestsMax
        self.crashesMax = crashesMax
    }

    /// How long a clip may stay in the stage; nil where an operator or nobody is waited for.
    public func deadline(of stage: ClipStatus.Stage) -> Duration? {
        switch stage {
        case .upload: uploadDeadline
        case .encode: encodeDeadline
        case .mp4: mp4Deadline
        case .ready, .transfer, .finished: nil
        }
    }
}
