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

    private struct Secret {
        let key: SymmetricKey
        /// The code over nothing yet. What is made of the key alone is made once.
        let begun: HMAC<SHA256>

        init(_ text: String) {
            key = SymmetricKey(data: Array(text.utf8))
            begun = HMAC(key: key)
        }
    }

    private let configured: [Secret]
    private let found = NIOLockedValueBox<[Secret]>([])

    /// - Parameter secrets: taken by their own bytes; they look like hexadecimal but are not decoded.
    package init(_ secrets: [String]) {
        configured = secrets.map(Secret.init)
    }

    /// Of each secret a code that goes over nothing yet.
    var codes: [HMAC<SHA256>] { (configured + found.withLockedValue { $0 }).map(\.begun) }

    /// Accepts deliveries that are signed with it from now on.
    /// - Returns: false for one that is known.
    package func accept(_ text: String) -> Bool {
        let secret = Secret(text)
        if configured.contains(where: { $0.key == secret.key }) { return false }
        return found.withLockedValue { found in
            if found.contains(where: { $0.key == secret.key }) { return false }
            found = [secret] + found.prefix(Self.foundMax - 1)
            return true
        }
    }
}
