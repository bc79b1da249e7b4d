// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import Crypto

/// Why a signature is not believed.
package enum SignatureRefusal: Error, Sendable, Equatable {
    case missing
    case malformed
    case mismatch
    /// Genuine, but sent `age` ago; negative when it lies ahead of our clock.
    case expired(ageSeconds: Int64)
}

/// Verifies deliveries' signatures with any of several secrets, as are needed while a secret is changed.
package struct WebhookVerifier: Sendable {
    private let secrets: WebhookSecrets
    private let toleranceSeconds: Int64

    /// - Parameter tolerance: how far our clock may be from the signature's time, either way, the limit included.
    package init(secrets: WebhookSecrets, tolerance: Duration) {
        self.secrets = secrets
        toleranceSeconds = tolerance.components.seconds
    }

    /// What can be told from the header fields of that name alone.
    package func parse(_ values: [String]) throws(SignatureRefusal) -> WebhookSignature {
        guard let value = values.first else { throw .missing }
        // Two header lines are as ambiguous as two times in one.
        guard values.count == 1, let signature = WebhookSignature(header: value.utf8) else { throw .malformed }
        return signature
    }

    /// Checks a signature over the raw body, and only then its age: that a genuine signature is too old is worth
    /// telling, and a forged one learns nothing about our clock.
    package func verify(_ signature: WebhookSignature, body: [UInt8], now: Timestamp) throws(SignatureRefusal) {
        var isGenuine = false
        for code in secrets.codes where Self.finish(code, time: signature.timeText, body: body) == signature.sig1 {
            isGenuine = true
        }
        guard isGenuine else { throw .mismatch }
        let age = now.seconds - signature.time
        guard abs(age) <= toleranceSeconds else { throw .expired(ageSeconds: age) }
    }

    /// The header for a body, as Cloudflare makes it.
    package static func sign(secret: String, time: Timestamp, body: [UInt8]) -> String {
        let text = String(time.seconds)
        let begun = HMAC<SHA256>(key: SymmetricKey(data: Array(secret.utf8)))
        let code = finish(begun, time: Array(text.utf8), body: body)
        let hex = code.reduce(into: "") { hex, byte in
            if byte < 0x10 { hex += "0" }
            hex += String(byte, radix: 16)
        }
        return "time=\(text),sig1=\(hex)"
    }

    /// Comparing the result with bytes takes the same time wherever they differ (swift-crypto's promise).
    private static func finish(_ begun: HMAC<SHA256>, time: [UInt8], body: [UInt8]) -> HMAC<SHA256>.MAC {
        var code = begun
        code.update(data: time + [UInt8(ascii: ".")])
        code.update(data: body)
        return code.finalize()
    }
}
