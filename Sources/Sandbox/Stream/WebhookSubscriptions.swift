// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOConcurrencyHelpers

/// The account's one webhook subscription.
final class WebhookSubscriptions: Sendable {
    struct Subscription: Sendable, Equatable {
        var url: String
        var secret: String
        var modified: Timestamp
    }

    private struct State {
        var current: Subscription?
        /// How many secrets were given out.
        var secrets = 0
    }

    private let identity: SandboxIdentity
    private let state = NIOLockedValueBox(State())

    init(identity: SandboxIdentity) { self.identity = identity }

    var current: Subscription? { state.withLockedValue { $0.current } }

    /// The same URL keeps its secret, any other gets a new one.
    @discardableResult
    func subscribe(_ url: String, now: Timestamp) -> Subscription {
        state.withLockedValue { state in
            if let current = state.current, current.url == url { return current }
            state.secrets += 1
            let subscription = Subscription(
                url: url, secret: identity.webhookSecret(state.secrets), modified: now)
            state.current = subscription
            return subscription
        }
    }

    /// Whether there was one.
    func unsubscribe() -> Bool {
        state.withLockedValue { state in
            defer { state.current = nil }
            return state.current != nil
        }
    }
}
