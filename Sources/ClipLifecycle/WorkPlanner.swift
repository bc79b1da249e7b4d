// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Decides what is done for a clip next: after a decision, and after an action's outcome. Pure; `jitter` is handed in.
public struct WorkPlanner: Sendable {
    public var policy: LifecyclePolicy
    public var now: Timestamp
    /// 0…1, drawn by the owner for each plan.
    public var jitter: Double

    public init(policy: LifecyclePolicy, now: Timestamp, jitter: Double) {
        self.policy = policy
        self.now = now
        self.jitter = jitter
    }

    /// What follows an outcome: a signal for the ledger, details without one, and when the work is due again.
    public struct Plan: Sendable, Equatable {
        public var signal: Signal?
        public var details: Observation?
        /// The work as it goes on; nil to leave it to the status that the signal leads to.
        public var work: Work?
    }

    // MARK: After a decision

    /// The clip's work after a signal was decided; nil for none.
    /// - Parameter hurries: the signal came from outside, so that a waiting inquiry is worth making now.
    public func work(
        after decision: ClipStateMachine.Decision, uid: ClipUID, present: Work?, hurries: Bool
    ) -> Work? {
        switch decision {
        case .rejected:
            return present
        case .merged:
            // What failed keeps the time that its peer or its backoff set.
            guard var work = present, hurries, work.lease == nil, work.firstFailedAt == nil else { return present }
            work.dueAt = min(work.dueAt, now)
            return work
        case .applied(let from, let to):
            guard let action = to.action(requestsMP4: policy.requestsMP4) else { return nil }
            let staysInStage = from?.stage == to.stage
            if var work = present, work.action == action {
                // The same action goes on in the next status, under the lease that it has.
                if !staysInStage { work.stageEnteredAt = now }
                (work.attempt, work.polls, work.crashes, work.firstFailedAt) = (0, 0, 0, nil)
                (work.percent, work.percentAt) = (nil, nil)
                if work.lease == nil { work.dueAt = due(action, hurries: hurries) }
                return work
            }
            let entered = staysInStage ? present?.stageEnteredAt ?? now : now
            // Whoever brought the clip to this stage, its MP4 was asked for.
            let mp4Requests = to.stage == .mp4 ? max(present?.mp4Requests ?? 0, 1) : 0
            return Work(
                uid: uid, action: action, dueAt: due(action, hurries: hurries), stageEnteredAt: entered,
                mp4Requests: mp4Requests)
        }
    }

    /// What we have just been told by a poll need not be asked at once.
    private func due(_ action: Action, hurries: Bool) -> Timestamp {
        action.isPoll && !hurries ? now + policy.pollMin : now
    }

    // MARK: After an outcome

    public func plan(after outcome: ActionOutcome, of request: ActionRequest) -> Plan {
        var work = request.work
        work.lease = nil
        switch outcome {
        case .abandoned, .reported:
            work.dueAt = now
            return Plan(work: work)
        case .observed(let observation):
            work.crashes = 0
            return plan(observation, request: request, work: work)
        case .mp4Missing(let failure):
            work.crashes = 0
            return askAgain(failure, request: request, work: work)
        case .failed(let failure):
            return plan(failure, request: request, work: work)
        }
    }

    private func plan(_ observation: Observation, request: ActionRequest, work: Work) -> Plan {
        var work = work
        let recovered = work.attempt > 0
        (work.attempt, work.firstFailedAt) = (0, nil)
        if request.action == .requestMP4 {
            // Asked for, or asked for again: the deadline counts anew.
            work.action = .checkMP4
            work.mp4Requests += 1
            work.stageEnteredAt = now
            work.polls = 0
            work.dueAt = now + policy.pollMin
            return Plan(signal: signal(observation, request: request), work: work)
        }
        if isNews(observation, request: request) {
            return Plan(signal: signal(observation, request: request), work: nil)
        }
        if let late = deadlinePassed(request: request, work: work) { return late }
        work.polls += 1
        // What a reading says of a status that the clip has passed is not true of the one that it is in.
        let isPast = observation.status.map { $0 != request.status } ?? false
        let percent = isPast ? nil : observation.percent
        var details = isPast ? [:] : observation.details
        work.dueAt = nextPoll(percent, work: &work)
        if recovered { details.merge(Self.noRetryPending) { _, new in new } }
        let changes = details.contains { request.details[$0.key] ?? .null != $0.value }
        let moved = percent != nil && percent != request.work.percent
        let news = Observation(status: nil, percent: moved ? percent : nil, details: details)
        return Plan(details: changes || moved ? news : nil, work: work)
    }

    private static let noRetryPending: Details = [
        DetailKey.attempt.rawValue: .null, DetailKey.nextAttemptAt.rawValue: .null,
        DetailKey.errorCode.rawValue: .null, DetailKey.errorMessage.rawValue: .null,
    ]

    /// A poll is worth a ledger entry only when it says something new; that a clip is behind us is nothing new.
    private func isNews(_ observation: Observation, request: ActionRequest) -> Bool {
        guard let status = observation.status, status != request.status else { return false }
        return status > request.status || (request.status == .mp4Processing && status == .waitForMP4)
    }

    private func signal(_ observation: Observation, request: ActionRequest) -> Signal? {
        observation.status.map {
            Signal(
                uid: request.uid, source: request.action.isPoll ? .poll : .pipeline, status: $0,
                details: observation.details, percent: observation.percent)
        }
    }

    // MARK: Deadlines

    /// Only an inquiry can be too late: asking for the MP4 again is what the deadline leads to, and ends by its budget.
    private func deadlinePassed(request: ActionRequest, work: Work) -> Plan? {
        let stage = request.status.stage
        guard request.action.isPoll else { return nil }
        guard let limit = policy.deadline(of: stage), now - work.stageEnteredAt >= limit else { return nil }
        let waited = "in \"\(request.status.rawValue)\" for \(Self.words(now - work.stageEnteredAt))"
        let failure = ActionFailure(
            code: "\(stage.rawValue)_deadline",
            message: "\(Self.waitedFor(stage)) \(waited); the limit is \(Self.words(limit))", isRetryable: false)
        return stage == .mp4 ? askAgain(failure, request: request, work: work) : stop(failure, request: request)
    }

    private static func waitedFor(_ stage: ClipStatus.Stage) -> String {
        switch stage {
        case .upload: "the upload to Cloudflare did not finish:"
        case .encode: "Cloudflare did not finish encoding:"
        case .mp4: "Cloudflare did not make the MP4:"
        case .ready, .transfer, .finished: "nothing came:"
        }
    }

    private static func words(_ duration: Duration) -> String {
        let seconds = Int64(duration.inSeconds)
        switch seconds {
        case ..<120: return "\(seconds) s"
        case ..<7_200: return "\(seconds / 60) min"
        default: return "\(seconds / 3_600) h"
        }
    }

    /// The MP4 is asked for once more; after that the clip is stopped.
    private func askAgain(_ failure: ActionFailure, request: ActionRequest, work: Work) -> Plan {
        guard work.mp4Requests < policy.mp4RequestsMax else {
            return stop(
                ActionFailure(
                    code: failure.code,
                    message: "\(failure.message); it was asked for \(work.mp4Requests) times", isRetryable: false),
                request: request)
        }
        var work = work
        work.action = .requestMP4
        work.dueAt = now
        let back = Signal(
            uid: request.uid, source: .poll, status: .waitForMP4,
            details: [DetailKey.mp4Status.rawValue: .string(failure.code)])
        return Plan(signal: request.status == .mp4Processing ? back : nil, work: work)
    }

    // MARK: Failures

    private func plan(_ failure: ActionFailure, request: ActionRequest, work: Work) -> Plan {
        guard failure.isRetryable else { return stop(failure, request: request) }
        if let late = deadlinePassed(request: request, work: work) { return late }
        var work = work
        // A failure after nothing but waiting is the first one: the time that was waited is not its fault.
        let first = failure.isWaiting || work.attempt > 0 ? work.firstFailedAt ?? now : now
        guard now - first < (failure.isWaiting ? policy.waitBudget : policy.failureBudget) else {
            let text = "\(failure.message); given up after \(work.attempt + 1) attempts in \(Self.words(now - first))"
            return stop(ActionFailure(code: failure.code, message: text, isRetryable: false), request: request)
        }
        work.firstFailedAt = first
        if !failure.isWaiting { work.attempt += 1 }
        let pause = failure.isWaiting ? patience(waited: now - first) : backoff(attempt: work.attempt)
        work.dueAt = now + max(failure.retryAfter ?? .zero, pause)
        let details: Details = [
            DetailKey.attempt.rawValue: .integer(Int64(work.attempt)),
            DetailKey.nextAttemptAt.rawValue: .string(work.dueAt.rfc3339),
            DetailKey.errorCode.rawValue: .string(failure.code),
            DetailKey.errorMessage.rawValue: .string(failure.message),
        ]
        return Plan(details: Observation(status: nil, details: details), work: work)
    }

    private func stop(_ failure: ActionFailure, request: ActionRequest) -> Plan {
        Plan(signal: Self.stopSignal(failure, uid: request.uid), work: nil)
    }

    public static func stopSignal(_ failure: ActionFailure, uid: ClipUID) -> Signal {
        Signal(
            uid: uid, source: .pipeline, status: .error,
            details: [
                DetailKey.errorCode.rawValue: .string(failure.code),
                DetailKey.errorMessage.rawValue: .string(failure.message),
            ])
    }

    /// Full jitter over a doubling interval, so that clips that failed together do not come back together.
    private func backoff(attempt: Int) -> Duration {
        let ceiling = min(policy.retryMin * Double(1 << min(max(attempt, 1), 16)), policy.retryMax)
        return max(ceiling * jitter, policy.retryMin / 2)
    }

    /// Grows with the time that was waited, so that a long queue costs few tries.
    private func patience(waited: Duration) -> Duration {
        let ceiling = min(max(waited / 2, policy.retryMin * 16), policy.retryMax)
        return max(ceiling * jitter, policy.retryMin / 2)
    }

    // MARK: Polls

    /// Grows by half with each poll that brings nothing, up to the longest; sooner where the percentage's pace says
    /// that the end is near. Jittered by a quarter.
    private func nextPoll(_ percent: Double?, work: inout Work) -> Timestamp {
        var interval = policy.pollMin
        for _ in 0..<min(work.polls, 32) where interval < policy.pollMax { interval = interval * 3 / 2 }
        if let percent {
            if let last = work.percent, let at = work.percentAt, percent > last {
                let pace = (percent - last) / max((now - at).inSeconds, 0.001)
                // A pace of next to nothing makes more seconds than a `Duration` holds.
                let secondsLeft = max(100 - percent, 0) / pace
                if secondsLeft < interval.inSeconds { interval = .seconds(secondsLeft) }
                (work.percent, work.percentAt) = (percent, now)
            } else if work.percent != percent {
                (work.percent, work.percentAt) = (percent, now)
            }
        }
        let bounded = max(policy.pollMin, min(interval, policy.pollMax))
        return now + bounded * (1 + (jitter - 0.5) / 4)
    }
}
