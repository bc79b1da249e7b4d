// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Testing

/// Requests and planners for one clip at one moment.
private struct Clip {
    static let uid = ClipUID("dd5d531a12de0c724bd1275a3b2bc9c6")!
    static let start = Timestamp(seconds: 1_800_000_000)

    var policy = LifecyclePolicy()
    var jitter = 0.5

    func planner(after time: Duration = .zero) -> WorkPlanner {
        WorkPlanner(policy: policy, now: Self.start + time, jitter: jitter)
    }

    func work(_ action: Action) -> Work {
        Work(uid: Self.uid, action: action, dueAt: Self.start, stageEnteredAt: Self.start)
    }

    func request(_ status: ClipStatus, _ details: Details = [:], _ change: (inout Work) -> Void = { _ in })
        -> ActionRequest
    {
        var work = work(status.action(requestsMP4: true) ?? .checkVideo)
        change(&work)
        work.lease = Lease(owner: "one", until: Self.start + .seconds(15), epoch: 7)
        return ActionRequest(work: work, status: status, details: details, epoch: 7)
    }
}

private let passing = ActionFailure(code: "api_503", message: "Cloudflare answered 503", isRetryable: true)
private let waiting = ActionFailure(
    code: "spool_full", message: "the spool has no room", isRetryable: true, isWaiting: true)

@Suite struct WorkPlannerPollTests {
    private let clip = Clip()

    private func unchanged(_ status: ClipStatus, percent: Double? = nil) -> ActionOutcome {
        .observed(Observation(status: status, percent: percent))
    }

    @Test func pollsGrowFromTheShortestToTheLongest() throws {
        var request = clip.request(.queued)
        var waits: [Duration] = []
        var now = Duration.zero
        for _ in 0..<15 {
            let plan = clip.planner(after: now).plan(after: unchanged(.queued), of: request)
            #expect(plan.signal == nil)
            #expect(plan.details == nil)
            let work = try #require(plan.work)
            #expect(work.lease == nil)
            waits.append(work.dueAt - (Clip.start + now))
            now = work.dueAt - Clip.start
            request.work = work
        }
        #expect(waits.first == .seconds(3))
        #expect(waits.last == .seconds(60))
        #expect(waits == waits.sorted())
    }

    @Test(arguments: [(0.0, 52.5), (0.5, 60), (1, 67.5)])
    func jitterSpreadsThemByAQuarter(_ jitter: Double, _ expected: Double) throws {
        let request = clip.request(.queued) { $0.polls = 30 }
        let plan = Clip(jitter: jitter).planner().plan(after: unchanged(.queued), of: request)
        #expect(try #require(plan.work).dueAt - Clip.start == .seconds(expected))
    }

    @Test func percentagesPaceBringsThePollForward() throws {
        let request = clip.request(.processing) {
            ($0.polls, $0.percent, $0.percentAt) = (30, 80, Clip.start)
        }
        // One per cent a second, ten left.
        let plan = clip.planner(after: .seconds(10)).plan(after: unchanged(.processing, percent: 90), of: request)
        let work = try #require(plan.work)
        #expect(work.dueAt == Clip.start + .seconds(20))
        #expect(work.percent == 90)
        #expect(work.percentAt == Clip.start + .seconds(10))
    }

    @Test(arguments: [(0, 1e-300), (0, .leastNonzeroMagnitude), (1, 1.0.nextUp), (-1e308, 1e308), (-1e308, -1e307)])
    func oddPercentagesLeaveThePollWithinItsBounds(before: Double, after: Double) throws {
        let request = clip.request(.processing) { ($0.polls, $0.percent, $0.percentAt) = (30, before, Clip.start) }
        let day = Duration.seconds(80_000)
        let plan = clip.planner(after: day).plan(after: unchanged(.processing, percent: after), of: request)
        let wait = try #require(plan.work).dueAt - (Clip.start + day)
        #expect((clip.policy.pollMin...clip.policy.pollMax).contains(wait))
    }

    @Test func percentageThatStandsStillHasNoPace() throws {
        let request = clip.request(.processing) { ($0.polls, $0.percent, $0.percentAt) = (30, 100, Clip.start) }
        let plan = clip.planner(after: .seconds(10)).plan(after: unchanged(.processing, percent: 100), of: request)
        #expect(try #require(plan.work).dueAt == Clip.start + .seconds(70))
        #expect(plan.details == nil)
    }

    @Test func finishedPercentageIsNotPolledMoreOftenThanTheShortest() throws {
        let request = clip.request(.processing) { ($0.polls, $0.percent, $0.percentAt) = (30, 50, Clip.start) }
        let plan = clip.planner(after: .seconds(1)).plan(after: unchanged(.processing, percent: 100), of: request)
        #expect(try #require(plan.work).dueAt == Clip.start + .seconds(3))
    }

    @Test func percentageAloneMakesNoSignal() throws {
        let plan = clip.planner().plan(after: unchanged(.processing, percent: 12), of: clip.request(.processing))
        #expect(plan.signal == nil)
        #expect(plan.details == Observation(status: nil, percent: 12))
        #expect(plan.work?.percent == 12)
    }

    @Test(arguments: [
        (ClipStatus.processing, ClipStatus.queued), (.processing, .uploading), (.mp4Processing, .streamReady),
    ])
    func pollThatLagsBehindSaysNothing(_ current: ClipStatus, _ seen: ClipStatus) {
        let observation = Observation(status: seen, percent: 99, details: ["cloudflare_status": "old"])
        let plan = clip.planner().plan(after: .observed(observation), of: clip.request(current))
        #expect(plan.signal == nil)
        #expect(plan.details == nil)
        #expect(plan.work?.percent == nil)
    }

    @Test(arguments: [
        (ClipStatus.uploading, ClipStatus.queued), (.queued, .streamReady), (.processing, .error),
        (.waitForMP4, .mp4Processing), (.mp4Processing, .waitForMP4), (.mp4Processing, .mp4Downloading),
    ])
    func newStatusMakesASignalAndLeavesTheWorkToIt(_ current: ClipStatus, _ seen: ClipStatus) {
        let observation = Observation(status: seen, percent: 5, details: ["cloudflare_status": "new"])
        let plan = clip.planner().plan(after: .observed(observation), of: clip.request(current))
        #expect(
            plan.signal
                == Signal(uid: Clip.uid, source: .poll, status: seen, details: observation.details, percent: 5))
        #expect(plan.work == nil)
    }

    @Test func changedDetailsAreTakenAndUnchangedOnesAreNot() {
        let request = clip.request(.queued, ["thumbnail_url": "a"])
        let planner = clip.planner()
        let same = Observation(status: .queued, details: ["thumbnail_url": "a"])
        #expect(planner.plan(after: .observed(same), of: request).details == nil)
        let other = Observation(status: .queued, details: ["thumbnail_url": "b"])
        #expect(planner.plan(after: .observed(other), of: request).details?.details == ["thumbnail_url": "b"])
    }

    @Test func recoveryClearsWhatWasSaidOfTheFailure() {
        let request = clip.request(.queued, ["attempt": 3, "error_code": "api_503"]) {
            ($0.attempt, $0.firstFailedAt, $0.crashes) = (3, Clip.start, 2)
        }
        let plan = clip.planner(after: .seconds(9)).plan(after: unchanged(.queued), of: request)
        #expect(plan.details?.details["attempt"] == .null)
        #expect(plan.details?.details["error_code"] == .null)
        #expect(plan.work?.attempt == 0)
        #expect(plan.work?.firstFailedAt == nil)
        #expect(plan.work?.crashes == 0)
    }
}

@Suite struct WorkPlannerFailureTests {
    private let clip = Clip()

    @Test func backoffDoublesUpToItsLimitWithFullJitter() throws {
        var request = clip.request(.mp4Downloading)
        var ceilings: [Duration] = []
        for _ in 0..<12 {
            let work = try #require(Clip(jitter: 1).planner().plan(after: .failed(passing), of: request).work)
            ceilings.append(work.dueAt - Clip.start)
            request.work = work
        }
        #expect(ceilings == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300].map { .seconds($0) })
        #expect(request.work.attempt == 12)
        let least = try #require(Clip(jitter: 0).planner().plan(after: .failed(passing), of: request).work)
        #expect(least.dueAt - Clip.start == .milliseconds(500))
    }

    @Test func failureIsShownWithItsNextAttempt() throws {
        let plan = clip.planner().plan(after: .failed(passing), of: clip.request(.mp4Downloading))
        let work = try #require(plan.work)
        #expect(plan.signal == nil)
        #expect(
            plan.details?.details == [
                "attempt": 1, "next_attempt_at": .string(work.dueAt.rfc3339), "error_code": "api_503",
                "error_message": "Cloudflare answered 503",
            ])
    }

    @Test(arguments: [passing, waiting])
    func retryAfterIsHonoured(_ failure: ActionFailure) throws {
        var failure = failure
        failure.retryAfter = .seconds(700)
        let plan = clip.planner().plan(after: .failed(failure), of: clip.request(.r2Uploading))
        #expect(try #require(plan.work).dueAt == Clip.start + .seconds(700))
    }

    @Test func permanentFailureStopsTheClipWithItsWords() {
        let failure = ActionFailure(code: "no_bucket", message: "there is no bucket \"x\"", isRetryable: false)
        let plan = clip.planner().plan(after: .failed(failure), of: clip.request(.r2Uploading))
        #expect(plan.signal == WorkPlanner.stopSignal(failure, uid: Clip.uid))
        #expect(plan.signal?.request == .status(.error))
        #expect(plan.signal?.details == ["error_code": "no_bucket", "error_message": "there is no bucket \"x\""])
        #expect(plan.work == nil)
    }

    @Test func budgetOfFailuresEndsInWords() {
        let request = clip.request(.r2Uploading) { ($0.attempt, $0.firstFailedAt) = (40, Clip.start) }
        let before = clip.planner(after: .seconds(6 * 3600 - 1)).plan(after: .failed(passing), of: request)
        #expect(before.work?.attempt == 41)
        let after = clip.planner(after: .seconds(6 * 3600)).plan(after: .failed(passing), of: request)
        #expect(after.work == nil)
        #expect(
            after.signal?.details["error_message"] == "Cloudflare answered 503; given up after 41 attempts in 6 h")
    }

    @Test func waitingCountsNoAttempt() throws {
        let plan = clip.planner().plan(after: .failed(waiting), of: clip.request(.mp4Downloading))
        let work = try #require(plan.work)
        #expect(work.attempt == 0)
        #expect(work.firstFailedAt == Clip.start)
        #expect(work.dueAt > Clip.start)
    }

    @Test func longWaitingIsTriedSeldomAndEndsAtLast() throws {
        let request = clip.request(.mp4Downloading) { $0.firstFailedAt = Clip.start }
        let planner = Clip(jitter: 1).planner(after: .seconds(3600))
        let work = try #require(planner.plan(after: .failed(waiting), of: request).work)
        #expect(work.dueAt == planner.now + .seconds(300))
        let late = clip.planner(after: .seconds(86_400)).plan(after: .failed(waiting), of: request)
        #expect(late.signal?.request == .status(.error))
    }

    @Test func failureAfterALongWaitIsOnlyTheFirst() throws {
        let request = clip.request(.mp4Downloading) { $0.firstFailedAt = Clip.start }
        let plan = clip.planner(after: .seconds(20 * 3600)).plan(after: .failed(passing), of: request)
        let work = try #require(plan.work)
        #expect(work.attempt == 1)
        #expect(work.firstFailedAt == Clip.start + .seconds(20 * 3600))
    }

    @Test(arguments: [ActionOutcome.abandoned, .reported])
    func abandonedActionIsDueAgainAndNoAttempt(_ outcome: ActionOutcome) throws {
        let request = clip.request(.r2Uploading) { ($0.attempt, $0.crashes) = (2, 1) }
        let plan = clip.planner(after: .seconds(3)).plan(after: outcome, of: request)
        let work = try #require(plan.work)
        #expect(work.dueAt == Clip.start + .seconds(3))
        #expect(work.attempt == 2)
        #expect(work.crashes == 1)
        #expect(work.lease == nil)
        #expect(plan.signal == nil)
        #expect(plan.details == nil)
    }
}

@Suite struct WorkPlannerDeadlineTests {
    private let clip = Clip()

    @Test(arguments: [
        (ClipStatus.uploading, "upload_deadline"), (.queued, "encode_deadline"), (.processing, "encode_deadline"),
    ])
    func clipThatIsTooLateIsStoppedWithWords(_ status: ClipStatus, _ code: String) throws {
        let outcome = ActionOutcome.observed(Observation(status: status))
        let before = clip.planner(after: .seconds(86_399)).plan(after: outcome, of: clip.request(status))
        #expect(before.signal == nil)
        let plan = clip.planner(after: .seconds(86_400)).plan(after: outcome, of: clip.request(status))
        #expect(plan.signal?.request == .status(.error))
        #expect(plan.signal?.details["error_code"] == .string(code))
        let text = try #require(plan.signal?.details["error_message"]?.stringValue)
        #expect(text.contains("in \"\(status.rawValue)\" for 24 h; the limit is 24 h"))
    }

    @Test func failingInquiriesDoNotOutliveTheDeadline() {
        let plan = clip.planner(after: .seconds(86_400)).plan(after: .failed(passing), of: clip.request(.queued))
        #expect(plan.signal?.details["error_code"] == "encode_deadline")
    }

    @Test func newsBeatTheDeadline() {
        let outcome = ActionOutcome.observed(Observation(status: .streamReady))
        let plan = clip.planner(after: .seconds(90_000)).plan(after: outcome, of: clip.request(.processing))
        #expect(plan.signal?.request == .status(.streamReady))
    }

    @Test(arguments: [ClipStatus.waitForMP4, .mp4Processing])
    func lateMP4IsAskedForOnceMoreAndThenStops(_ status: ClipStatus) throws {
        let outcome = ActionOutcome.observed(Observation(status: status))
        let first = clip.request(status) { $0.mp4Requests = 1 }
        let again = clip.planner(after: .seconds(3600)).plan(after: outcome, of: first)
        #expect(again.work?.action == .requestMP4)
        #expect(again.work?.dueAt == Clip.start + .seconds(3600))
        #expect(again.signal?.request == (status == .mp4Processing ? .status(.waitForMP4) : nil))
        let second = clip.request(status) { $0.mp4Requests = 2 }
        let end = clip.planner(after: .seconds(3600)).plan(after: outcome, of: second)
        #expect(end.work == nil)
        #expect(end.signal?.request == .status(.error))
        let text = try #require(end.signal?.details["error_message"]?.stringValue)
        #expect(text.contains("Cloudflare did not make the MP4") && text.contains("it was asked for 2 times"))
    }

    @Test func failedOrMissingMP4IsAskedForOnceMoreAndThenStops() {
        let missing = ActionFailure(code: "mp4_failed", message: "Cloudflare could not make the MP4", isRetryable: true)
        let first = clip.request(.mp4Processing) { $0.mp4Requests = 1 }
        let again = clip.planner().plan(after: .mp4Missing(missing), of: first)
        #expect(again.work?.action == .requestMP4)
        #expect(again.signal?.request == .status(.waitForMP4))
        let second = clip.request(.waitForMP4) { $0.mp4Requests = 2 }
        let end = clip.planner().plan(after: .mp4Missing(missing), of: second)
        #expect(end.signal?.details["error_code"] == "mp4_failed")
        #expect(
            end.signal?.details["error_message"] == "Cloudflare could not make the MP4; it was asked for 2 times")
    }

    @Test func askingAgainThatFailsBacksOffAndIsNotAskedAtOnceForEver() throws {
        let request = clip.request(.waitForMP4) { ($0.action, $0.mp4Requests) = (.requestMP4, 1) }
        let planner = clip.planner(after: .seconds(3700))
        let plan = planner.plan(after: .failed(passing), of: request)
        let work = try #require(plan.work)
        #expect(work.action == .requestMP4)
        #expect(work.attempt == 1)
        #expect(work.dueAt > planner.now)
    }

    @Test func askedForMP4CountsItsDeadlineAnew() throws {
        let request = clip.request(.waitForMP4) { ($0.action, $0.mp4Requests, $0.polls) = (.requestMP4, 1, 9) }
        let planner = clip.planner(after: .seconds(3700))
        let plan = planner.plan(after: .observed(Observation(status: .waitForMP4)), of: request)
        let work = try #require(plan.work)
        #expect(plan.signal?.source == .pipeline)
        #expect(work.action == .checkMP4)
        #expect(work.mp4Requests == 2)
        #expect(work.stageEnteredAt == planner.now)
        #expect(work.polls == 0)
        #expect(work.dueAt == planner.now + .seconds(2))
    }

    @Test func transferAndFinishedClipsHaveNoDeadline() {
        for status in [ClipStatus.streamReady, .mp4Downloading, .r2Uploading, .complete, .error] {
            #expect(clip.policy.deadline(of: status.stage) == nil)
        }
    }
}

@Suite struct WorkPlannerDecisionTests {
    private let clip = Clip()

    private func next(
        _ from: ClipStatus?, _ to: ClipStatus, present: Work? = nil, hurries: Bool = false, after time: Duration = .zero
    ) -> Work? {
        clip.planner(after: time).work(
            after: .applied(from: from, to: to), uid: Clip.uid, present: present, hurries: hurries)
    }

    @Test(arguments: ClipStatus.allCases)
    func newClipGetsTheActionOfItsStatus(_ status: ClipStatus) {
        #expect(next(nil, status)?.action == status.action(requestsMP4: true))
        #expect(next(nil, status)?.stageEnteredAt == status.action(requestsMP4: true).map { _ in Clip.start })
    }

    @Test func mp4WaitsForAnOperatorWhereItIsNotAutomatic() {
        var manual = clip
        manual.policy.requestsMP4 = false
        let planner = manual.planner()
        let decision = ClipStateMachine.Decision.applied(from: .processing, to: .streamReady)
        #expect(planner.work(after: decision, uid: Clip.uid, present: clip.work(.checkVideo), hurries: true) == nil)
    }

    @Test func runningTransferKeepsItsLeaseIntoTheNextStatus() throws {
        var present = clip.work(.transfer)
        present.lease = Lease(owner: "one", until: Clip.start + .seconds(15), epoch: 3)
        present.attempt = 2
        let work = try #require(next(.mp4Downloading, .r2Uploading, present: present, after: .seconds(60)))
        #expect(work.lease == present.lease)
        #expect(work.stageEnteredAt == Clip.start)
        #expect(work.attempt == 0)
    }

    @Test func stageClockGoesOnWithinAStageAndStartsAnewInTheNext() {
        let present = clip.work(.checkVideo)
        #expect(next(.queued, .processing, present: present, after: .seconds(60))?.stageEnteredAt == Clip.start)
        #expect(
            next(.uploading, .queued, present: present, after: .seconds(60))?.stageEnteredAt == Clip.start
                + .seconds(60))
        let mp4 = clip.work(.checkMP4)
        #expect(next(.waitForMP4, .mp4Processing, present: mp4, after: .seconds(60))?.stageEnteredAt == Clip.start)
        #expect(next(.mp4Processing, .waitForMP4, present: mp4, after: .seconds(60))?.stageEnteredAt == Clip.start)
    }

    @Test func signalFromOutsideMakesAWaitingPollDueNow() {
        var present = clip.work(.checkVideo)
        present.dueAt = Clip.start + .seconds(50)
        let planner = clip.planner(after: .seconds(1))
        let hurried = planner.work(after: .merged(.queued), uid: Clip.uid, present: present, hurries: true)
        #expect(hurried?.dueAt == Clip.start + .seconds(1))
        let unhurried = planner.work(after: .merged(.queued), uid: Clip.uid, present: present, hurries: false)
        #expect(unhurried == present)
        #expect(next(.queued, .processing, present: present, hurries: true)?.dueAt == Clip.start)
        #expect(next(.queued, .processing, present: present)?.dueAt == Clip.start + .seconds(2))
    }

    @Test func repeatedSignalDoesNotCutABackoffShort() {
        var present = clip.work(.checkMP4)
        (present.dueAt, present.attempt, present.firstFailedAt) = (Clip.start + .seconds(50), 1, Clip.start)
        let decision = ClipStateMachine.Decision.merged(.waitForMP4)
        #expect(
            clip.planner().work(after: decision, uid: Clip.uid, present: present, hurries: true) == present)
    }

    @Test func leasedWorkIsLeftToItsOwner() {
        var present = clip.work(.checkVideo)
        present.lease = Lease(owner: "one", until: Clip.start + .seconds(15), epoch: 3)
        present.dueAt = Clip.start + .seconds(50)
        let decision = ClipStateMachine.Decision.merged(.queued)
        #expect(clip.planner().work(after: decision, uid: Clip.uid, present: present, hurries: true) == present)
    }

    @Test func otherActionTakesTheLeaseAway() throws {
        var present = clip.work(.checkVideo)
        present.lease = Lease(owner: "one", until: Clip.start + .seconds(15), epoch: 3)
        let work = try #require(next(.processing, .streamReady, present: present))
        #expect(work.action == .requestMP4)
        #expect(work.lease == nil)
    }

    @Test func clipThatComesToTheMP4StageCountsAsAskedOnce() {
        #expect(next(nil, .mp4Processing)?.mp4Requests == 1)
        #expect(next(.error, .waitForMP4)?.mp4Requests == 1)
        #expect(next(.streamReady, .mp4Processing, present: clip.work(.requestMP4))?.mp4Requests == 1)
        #expect(next(.streamReady, .mp4Downloading)?.mp4Requests == 0)
    }

    @Test func rejectionChangesNothing() {
        let present = clip.work(.checkVideo)
        let decision = ClipStateMachine.Decision.rejected(.backward)
        #expect(
            clip.planner(after: .seconds(5)).work(after: decision, uid: Clip.uid, present: present, hurries: true)
                == present)
    }

    @Test(arguments: [ClipStatus.complete, .error])
    func finalStatusEndsTheWork(_ status: ClipStatus) {
        #expect(next(.r2Uploading, status, present: clip.work(.transfer)) == nil)
    }
}
