// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import CloudflareStream
import HTTPTypes
import NIOConcurrencyHelpers

/// Sees when requests are made, and finds those that should not have been made then.
final class Traffic: Sendable {
    private struct State: Sendable {
        var streamTimes: [Timestamp] = []
        var streamPause: (from: Timestamp, until: Timestamp)?
        /// By call.
        var waits: [String: Timestamp] = [:]
    }

    private let world: WorldState
    private let state = NIOLockedValueBox(State())

    init(_ world: WorldState) { self.world = world }

    func begin(_ call: Upstream.Call) {
        if call.service == .stream { beginStream(call) }
        let until = state.withLockedValue { $0.waits.removeValue(forKey: call.id) }
        if let until, call.began < until, !isHurried, call.isWaitedFor {
            world.watch.found("\(call.id) was tried again before its Retry-After was over")
        }
    }

    /// What an operator or another program does makes work due at once, and so does a lost lease.
    private var isHurried: Bool {
        [.operator, .external, .pause, .clockJump, .storeError, .lostCommitAnswer].contains { world.scenario.has($0) }
    }

    private func beginStream(_ call: Upstream.Call) {
        let limits = world.scenario.budget
        let most = Int(limits.requestsPerWindow * limits.share) + 1
        let (count, pause) = state.withLockedValue { state in
            state.streamTimes.removeAll { call.began - $0 >= limits.window }
            state.streamTimes.append(call.began)
            return (state.streamTimes.count, state.streamPause)
        }
        if count > most { world.watch.found("\(count) requests to Stream within \(limits.window), at most \(most)") }
        // From the next moment on: others may have had their leave already.
        if let pause, pause.from < call.began, call.began < pause.until {
            world.watch.found("\(call.id) was sent while Stream had asked to wait")
        }
    }

    func end(_ call: Upstream.Call, _ answer: Upstream.Answer) {
        guard answer.status == 429, let seconds = answer.headers[.retryAfter].flatMap(Int64.init) else {
            if answer.status == 429 { waitAsSaid(call) }
            return
        }
        let now = world.clock.now()
        let until = now + .seconds(seconds)
        state.withLockedValue { state in
            if call.service == .stream {
                let running = state.streamPause.flatMap { now < $0.until ? $0 : nil }
                state.streamPause = (running?.from ?? now, max(running?.until ?? until, until))
            } else {
                state.waits[call.id] = until
            }
        }
    }

    /// The header was taken away on its way; the host has said it all the same.
    private func waitAsSaid(_ call: Upstream.Call) {
        state.withLockedValue { $0.waits[call.id] = world.clock.now() + .seconds(1) }
    }
}

extension Upstream.Call {
    /// Parts are put side by side, and what only clears up is tried once.
    fileprivate var isWaitedFor: Bool {
        switch service {
        case .stream: false
        case .media: true
        case .bucket: method == .head || (method == .put && query["partNumber"] == nil)
        }
    }
}
