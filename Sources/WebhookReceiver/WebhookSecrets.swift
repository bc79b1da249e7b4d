// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import NIOConcurrencyHelpers

/// The secrets that deliveries may be signed with: those of the settings, and those that the account's subscription
/// was found to have since. Cloudflare changes the secret whenever the subscription's URL changes, and deliveries that
/// were signed before may still come.
package final class WebhookSecrets: Sendable {
    /// The newest that was found, and the one before it.
    private static let foundMax = 2

    private let configured: [SymmetricKey]
    private let found = NIOLockedValueBox<[SymmetricKey]>([])

    /// - Parameter secrets: taken by their own bytes; they look like hexadecimal but are not decoded.
    package init(_ secrets: [String]) {
        configured = secrets.map(Self.key)
    }

    var keys: [SymmetricKey] { configured + found.withLockedValue { $0 } }

    /// Accepts deliveries that are signed with it from now on.
    /// - Returns: false for one that is known.
    package func accept(_ secret: String) -> Bool {
        let key = Self.key(secret)
        if configured.contains(key) { return false }
        return found.withLockedValue { found in
            if found.contains(key) { return false }
            found = [key] + found.prefix(Self.foundMax - 1)
            return true
        }
    }

    static func key(_ secret: String) -> SymmetricKey { SymmetricKey(data: Array(secret.utf8)) }
}
