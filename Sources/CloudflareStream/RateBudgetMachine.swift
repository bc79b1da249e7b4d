// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// What a request is for; under pressure the first goes before the second.
package enum RequestPriority: Int, Sendable, CaseIterable, Comparable {
    /// Moves a clip, or answers an operator.
    case move
    /// Only asks whether something has changed.
    case poll

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Decides when the next request to Cloudflare's API may go.
///
/// Cloudflare allows a number of requests per window to an account's user, whoever makes them, and blocks everything
/// for a whole window when it is exceeded. So we take a share: a bucket that holds a burst and refills steadily, both
/// together never more than the share in any window. What Cloudflare itself says is left slows it further.
///
/// A value: no clock, no lock. The owner hands in the time, waits where it is told to, and asks again.
package struct RateBudgetMachine: Sendable {
    package struct Limits: Sendable, Equatable {
        package var requestsPerWindow: Double
        package var window: Duration
        /// What of it is ours, 0…1.
        package var share: Double
        /// What of our share may go at once, 0…1.
        package var burstShare: Double
        /// What of the burst only requests that move a clip may take, 0…1.
        package var reserveShare: Double
        /// Nobody waits longer than this; whoever would have to is refused with the time to come back.
        package var waitMax: Duration
        /// The same for inquiries, which are as well made later: who waits has a clip that nobody else can take on
        /// meanwhile.
        package var pollWaitMax: Duration
        /// After a 429 that does not say how long.
        package var pauseDefault: Duration

        package init(
            requestsPerWindow: Double = 1_200,
            window: Duration = .seconds(300),
            share: Double = 0.8,
            burstShare: Double = 0.2,
            reserveShare: Double = 0.25,
            waitMax: Duration = .seconds(10),
            pollWaitMax: Duration = .seconds(1),
            pauseDefault: Duration = .seconds(300)
        ) {
            self.requestsPerWindow = requestsPerWindow
            self.window = window
            self.share = share
            self.burstShare = burstShare
            self.reserveShare = reserveShare
            self.waitMax = waitMax
            self.pollWaitMax = pollWaitMax
            self.pauseDefault = pauseDefault
        }

        /// 1,200 requests in 5 minutes.
        package static let cloudflare = Limits()

        package var burst: Double { max(requestsPerWindow * share * burstShare, 1) }
        var reserve: Double { min(burst * reserveShare, burst - 1) }
        var tokensPerSecond: Double { requestsPerWindow * share * (1 - burstShare) / window.inSeconds }
    }

    package enum Decision: Sendable, Equatable {
        case go
        /// Ask again with the same ticket then.
        case wait(until: Timestamp)
        /// Nothing will be granted within the longest wait.
        case refuse(retryAfter: Duration)
    }

    /// A request that asks for its leave, once or several times.
    package struct Ticket: Sendable, Hashable {
        fileprivate var number: UInt64
        fileprivate var priority: RequestPriority
    }

    /// What is left, and what Cloudflare has said; all that processes have to share to keep one budget.
    package struct Level: Sendable, Equatable, Codable {
        fileprivate struct Pause: Sendable, Equatable, Codable {
            var until: Timestamp
            var length: Duration
        }

        /// Cloudflare's word on the present window, turned into an interval between requests.
        fileprivate struct Pace: Sendable, Equatable, Codable {
            var interval: Duration
            var next: Timestamp
            var until: Timestamp
        }

        fileprivate var tokens: Double
        fileprivate var filledAt: Timestamp
        fileprivate var pause: Pause?
        fileprivate var pace: Pace?
    }

    package let limits: Limits
    package var level: Level
    /// Who was told to wait, and since when.
    private var waiting: [Ticket: Timestamp] = [:]
    private var lastNumber: UInt64 = 0

    package init(limits: Limits = .cloudflare, now: Timestamp) {
        self.limits = limits
        self.level = Level(tokens: limits.burst, filledAt: now)
    }

    // MARK: Requests

    package mutating func ticket(_ priority: RequestPriority) -> Ticket {
        lastNumber += 1
        return Ticket(number: lastNumber, priority: priority)
    }

    package mutating func decide(_ ticket: Ticket, now: Timestamp) -> Decision {
        settle(now)
        let at = readyAt(ticket, now: now)
        if at <= now {
            level.tokens -= 1
            if let pace = level.pace { level.pace?.next = now + pace.interval }
            withdraw(ticket)
            return .go
        }
        let longest = ticket.priority == .poll ? min(limits.pollWaitMax, limits.waitMax) : limits.waitMax
        if at - waiting[ticket, default: now] > longest {
            withdraw(ticket)
            return .refuse(retryAfter: at - now)
        }
        waiting[ticket] = waiting[ticket] ?? now
        return .wait(until: at)
    }

    /// Whoever gives up lets the others go before.
    package mutating func withdraw(_ ticket: Ticket) { waiting[ticket] = nil }

    /// When the ticket's turn comes, as things stand: whoever waits with the same or a better right goes first.
    private func readyAt(_ ticket: Ticket, now: Timestamp) -> Timestamp {
        let ahead = Double(
            waiting.keys.count {
                $0.priority <= ticket.priority && ($0.priority < ticket.priority || $0.number < ticket.number)
            }
        )
        let needed = 1 + ahead + (ticket.priority == .poll ? limits.reserve : 0)
        var at = now
        if level.tokens < needed {
            at = at + .milliseconds(Int64(((needed - level.tokens) / limits.tokensPerSecond * 1000).rounded(.up)))
        }
        if let pace = level.pace { at = max(at, min(pace.next + pace.interval * ahead, pace.until)) }
        if let pause = level.pause { at = max(at, pause.until) }
        return at
    }

    /// Brings everything up to `now`. A clock that was set back must not stop us, so nothing lies further ahead than
    /// its own length.
    private mutating func settle(_ now: Timestamp) {
        let elapsed = max((now - level.filledAt).inSeconds, 0)
        level.tokens = min(level.tokens + elapsed * limits.tokensPerSecond, limits.burst)
        level.filledAt = now
        if let held = level.pause {
            level.pause?.until = min(held.until, now + held.length)
            if now >= held.until { level.pause = nil }
        }
        if let held = level.pace {
            level.pace?.next = min(held.next, now + held.interval)
            if now >= held.until { level.pace = nil }
        }
    }

    // MARK: Answers

    /// What an answer's `Ratelimit` said is left.
    package mutating func observe(_ hint: RateLimitHint, now: Timestamp) {
        settle(now)
        let length = Duration.seconds(max(hint.resetSeconds, 1))
        let ours = (Double(hint.remaining) * limits.share).rounded(.down)
        guard ours >= 1 else {
            level.pace = Level.Pace(interval: length, next: now + length, until: now + length)
            return
        }
        let interval = Duration.milliseconds(Int64((length.inSeconds * 1000 / ours).rounded(.up)))
        // While it is no tighter than our own refill it need not be kept to.
        guard interval.inSeconds > 1 / limits.tokensPerSecond else {
            level.pace = nil
            return
        }
        level.pace = Level.Pace(interval: interval, next: max(level.pace?.next ?? now, now), until: now + length)
    }

    /// A 429: everything stops for as long as Cloudflare says.
    package mutating func observeLimit(retryAfter: Duration?, now: Timestamp) {
        settle(now)
        let length = max(retryAfter ?? limits.pauseDefault, .seconds(1))
        let until = max(now + length, level.pause?.until ?? now)
        level.pause = Level.Pause(until: until, length: until - now)
    }

    /// Requests that could go now.
    package mutating func remaining(now: Timestamp) -> Int {
        settle(now)
        return level.pause == nil ? Int(max(level.tokens, 0)) : 0
    }

    package var waitingCount: Int { waiting.count }
}
