// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import NIOConcurrencyHelpers

/// Counts calls as Cloudflare does: past the limit every call is refused for one more window.
final class RequestLimiter: Sendable {
    private struct State {
        var windowEnd: Timestamp?
        var used = 0
        var blockedUntil: Timestamp?
    }

    private let limit: RateLimit
    private let clock: any WallClock
    private let state = NIOLockedValueBox(State())

    init(_ limit: RateLimit, clock: any WallClock) {
        self.limit = limit
        self.clock = clock
    }

    /// Takes one call; the header fields go on its answer, which has to be a 429 where it is refused.
    func take() -> (isRefused: Bool, headers: HTTPFields) {
        let now = clock.now()
        let (remaining, seconds, isRefused) = state.withLockedValue { state in
            if let blocked = state.blockedUntil {
                if now < blocked { return (0, Self.secondsUp(blocked - now), true) }
                state = State()
            }
            if state.windowEnd.map({ now >= $0 }) ?? true {
                state.windowEnd = now + limit.window
                state.used = 0
            }
            state.used += 1
            let end = state.windowEnd ?? now
            guard state.used > limit.requests else {
                return (limit.requests - state.used, Self.secondsUp(end - now), false)
            }
            state.blockedUntil = now + limit.window
            return (0, Self.secondsUp(limit.window), true)
        }
        var headers: HTTPFields = [
            .rateLimit: "\"default\";r=\(remaining);t=\(seconds)",
            .rateLimitPolicy: "\"default\";q=\(limit.requests);w=\(Self.secondsUp(limit.window))",
        ]
        if isRefused { headers[.retryAfter] = String(seconds) }
        return (isRefused, headers)
    }

    private static func secondsUp(_ duration: Duration) -> Int64 { Int64(duration.inSeconds.rounded(.up)) }
}
