// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CloudflareStream
import Testing

struct RateBudgetMachineTests {
    private let start = Timestamp(seconds: 1_800_000_000)

    private func spend(_ machine: inout RateBudgetMachine, _ count: Int, at now: Timestamp) {
        for _ in 0..<count { #expect(machine.ask(.move, now: now).0 == .go) }
    }

    @Test func neverMoreThanTheShareGoesInAnyWindow() {
        let limits = RateBudgetMachine.Limits.cloudflare
        var machine = RateBudgetMachine(now: start)
        var granted: [Timestamp] = []
        var now = start
        // Idle first, then as hard as can be for a quarter of an hour.
        while now < start + .seconds(900) {
            let (decision, ticket) = machine.ask(.move, now: now)
            if decision == .go { granted.append(now) } else { machine.withdraw(ticket) }
            now = now + .milliseconds(100)
        }
        let most = granted.indices.map { first in
            granted[first...].prefix { $0 < granted[first] + limits.window }.count
        }.max()
        #expect(most ?? 0 <= 960)
        #expect(most ?? 0 > 900)
        #expect(granted.count > 2_000)
    }

    @Test func burstIsBounded() {
        var machine = RateBudgetMachine(now: start)
        spend(&machine, 192, at: start)
        guard case .wait(let until) = machine.ask(.move, now: start).0 else {
            Issue.record("the 193rd went")
            return
        }
        #expect(until == start + .milliseconds(391))
        #expect(machine.remaining(now: start) == 0)
    }

    @Test func pollsLeaveAReserveToRequestsThatMoveAClip() {
        var machine = RateBudgetMachine(now: start)
        for _ in 0..<144 { #expect(machine.ask(.poll, now: start).0 == .go) }
        #expect(machine.ask(.poll, now: start).0 != .go)
        spend(&machine, 48, at: start)
    }

    @Test func pollThatWouldHaveToWaitIsMadeLater() {
        var machine = RateBudgetMachine(now: start)
        for _ in 0..<144 { #expect(machine.ask(.poll, now: start).0 == .go) }
        // The next four seconds' worth: the first may wait for it, the others come back.
        guard case .wait = machine.ask(.poll, now: start).0, case .wait = machine.ask(.poll, now: start).0,
            case .refuse(let retryAfter) = machine.ask(.poll, now: start).0
        else {
            Issue.record("polls wait longer than a second")
            return
        }
        #expect(retryAfter > .seconds(1) && retryAfter < .seconds(2))
    }

    @Test func waitingMoveGoesBeforeAnEarlierPoll() {
        var machine = RateBudgetMachine(
            limits: .init(requestsPerWindow: 100, burstShare: 0.1, reserveShare: 0, pollWaitMax: .seconds(10)),
            now: start
        )
        spend(&machine, 8, at: start)
        let (pollDecision, poll) = machine.ask(.poll, now: start)
        let (moveDecision, move) = machine.ask(.move, now: start)
        guard case .wait = pollDecision, case .wait(let moveAt) = moveDecision else {
            Issue.record("\(pollDecision) \(moveDecision)")
            return
        }
        guard case .wait(let pollAt) = machine.decide(poll, now: moveAt) else {
            Issue.record("the poll went first")
            return
        }
        #expect(pollAt > moveAt)
        #expect(machine.decide(move, now: moveAt) == .go)
        #expect(machine.decide(poll, now: pollAt) == .go)
        #expect(machine.waitingCount == 0)
    }

    @Test func newcomerDoesNotOvertakeAWaiter() {
        var machine = RateBudgetMachine(
            limits: .init(requestsPerWindow: 100, burstShare: 0.1, reserveShare: 0),
            now: start
        )
        spend(&machine, 8, at: start)
        let (first, ticket) = machine.ask(.move, now: start)
        guard case .wait(let until) = first else {
            Issue.record("\(first)")
            return
        }
        let (second, _) = machine.ask(.move, now: until)
        #expect(second != .go)
        #expect(machine.decide(ticket, now: until) == .go)
    }

    @Test func longWaitIsRefusedWithTheTimeToComeBack() {
        var machine = RateBudgetMachine(now: start)
        machine.observeLimit(retryAfter: .seconds(120), now: start)
        #expect(machine.ask(.move, now: start).0 == .refuse(retryAfter: .seconds(120)))
        #expect(machine.ask(.move, now: start + .seconds(60)).0 == .refuse(retryAfter: .seconds(60)))
        #expect(machine.ask(.move, now: start + .seconds(115)).0 == .wait(until: start + .seconds(120)))
        #expect(machine.ask(.move, now: start + .seconds(120)).0 != .refuse(retryAfter: .zero))
    }

    @Test func limitWithoutATimePausesForFiveMinutes() {
        var machine = RateBudgetMachine(now: start)
        machine.observeLimit(retryAfter: nil, now: start)
        #expect(machine.ask(.move, now: start).0 == .refuse(retryAfter: .seconds(300)))
        #expect(machine.remaining(now: start) == 0)
        #expect(machine.ask(.move, now: start + .seconds(300)).0 == .go)
    }

    @Test func shorterPauseDoesNotEndALongerOne() {
        var machine = RateBudgetMachine(now: start)
        machine.observeLimit(retryAfter: .seconds(200), now: start)
        machine.observeLimit(retryAfter: .seconds(20), now: start)
        #expect(machine.ask(.move, now: start + .seconds(100)).0 == .refuse(retryAfter: .seconds(100)))
    }

    @Test func hintSpreadsWhatIsLeftOverItsWindow() {
        var machine = RateBudgetMachine(now: start)
        // 8 of 10 are ours in 30 s: one in 3.75 s.
        machine.observe(RateLimitHint(remaining: 10, resetSeconds: 30), now: start)
        #expect(machine.ask(.move, now: start).0 == .go)
        let (second, ticket) = machine.ask(.move, now: start)
        #expect(second == .wait(until: start + .milliseconds(3_750)))
        machine.withdraw(ticket)
        #expect(machine.ask(.move, now: start + .milliseconds(3_750)).0 == .go)
        #expect(machine.ask(.move, now: start + .seconds(30)).0 == .go)
        #expect(machine.ask(.move, now: start + .seconds(30)).0 == .go)
    }

    @Test func hintOfPlentyChangesNothing() {
        var machine = RateBudgetMachine(now: start)
        machine.observe(RateLimitHint(remaining: 1_190, resetSeconds: 299), now: start)
        spend(&machine, 192, at: start)
    }

    @Test func hintOfNothingStopsUntilTheWindowEnds() {
        var machine = RateBudgetMachine(now: start)
        machine.observe(RateLimitHint(remaining: 0, resetSeconds: 25), now: start)
        #expect(machine.ask(.move, now: start).0 == .refuse(retryAfter: .seconds(25)))
        #expect(machine.ask(.move, now: start + .seconds(25)).0 == .go)
    }

    @Test func clockSetBackDoesNotStopRequests() {
        var machine = RateBudgetMachine(now: start)
        machine.observeLimit(retryAfter: .seconds(60), now: start)
        let before = Timestamp(seconds: start.seconds - 86_400)
        #expect(machine.ask(.move, now: before).0 == .refuse(retryAfter: .seconds(60)))
        #expect(machine.ask(.move, now: before + .seconds(60)).0 == .go)
    }

    @Test(arguments: [
        (#""default";r=50;t=30"#, RateLimitHint(remaining: 50, resetSeconds: 30)),
        (#""burst";r=0;t=1, "default";r=900;t=200"#, RateLimitHint(remaining: 0, resetSeconds: 1)),
        (#""default"; r=5 ; t=10"#, RateLimitHint(remaining: 5, resetSeconds: 10)),
        (#""default";r=-1;t=30"#, nil), (#""default";r=5"#, nil), ("", nil), ("r=1;t=2", nil), (";;;=,=;r=;t=", nil),
        (#""d";r=99999999999999999999;t=1"#, nil),
    ])
    func rateLimitHeaderIsRead(header: String, expected: RateLimitHint?) {
        #expect(RateLimitHint.parse(header) == expected)
    }

    @Test(arguments: [
        ("0", Duration.seconds(0)), ("30", .seconds(30)), (" 7 ", .seconds(7)), ("86400", .seconds(3_600)),
        ("99999999999999999999999", .seconds(3_600)), ("Fri, 15 Jan 2027 08:01:00 GMT", .seconds(60)),
        ("Fri, 15 Jan 2027 07:00:00 GMT", .zero), ("-1", nil), ("1.5", nil), ("soon", nil), ("", nil),
        ("Fri, 15 Foo 2027 08:01:00 GMT", nil), ("Fri, 15 Jan 2027 25:01:00 GMT", nil),
        ("Fri, 15 Jan 2027 08:01 GMT", nil),
    ])
    func retryAfterIsSecondsOrADate(text: String, expected: Duration?) {
        #expect(RetryAfter.parse(text, now: start) == expected)
    }

    @Test(arguments: [
        ("Sun, 06 Nov 1994 08:49:37 GMT", Int64(784_111_777)), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600), ("Fri, 31 Dec 2100 23:59:59 GMT", 4_133_980_799),
    ])
    func httpDateIsReadAndWritten(text: String, seconds: Int64) {
        #expect(HTTPDate.parse(text) == Timestamp(seconds: seconds))
        #expect(HTTPDate.text(Timestamp(seconds: seconds)) == text)
    }
}

extension RateBudgetMachine {
    fileprivate mutating func ask(_ priority: RequestPriority, now: Timestamp) -> (Decision, Ticket) {
        let ticket = ticket(priority)
        return (decide(ticket, now: now), ticket)
    }
}
