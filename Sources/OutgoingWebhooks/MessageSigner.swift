// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import Crypto
import Foundation

/// Signs messages by the Standard Webhooks scheme (https://www.standardwebhooks.com), with every secret that is in
/// force, so that one can be changed for another while receivers still know either.
package struct MessageSigner: Sendable {
    private let keys: [SymmetricKey]

    /// - Parameter secrets: `whsec_` and 24 to 64 bytes in Base64, the newest first.
    /// - Returns: nil when one of them is none, or there is none.
    package init?(secrets: [String]) {
        var keys: [SymmetricKey] = []
        for secret in secrets {
            guard secret.hasPrefix("whsec_"), let bytes = Data(base64Encoded: String(secret.dropFirst(6))),
                (24...64).contains(bytes.count)
            else { return nil }
            keys.append(SymmetricKey(data: bytes))
        }
        if keys.isEmpty { return nil }
        self.keys = keys
    }

    /// One signature for each secret, with spaces between.
    /// - Parameter id: the message's, the same for every try.
    package func signature(id: String, time: Timestamp, body: [UInt8]) -> String {
        let head = Array("\(id).\(time.seconds).".utf8)
        let codes = keys.map { key in
            var code = HMAC<SHA256>(key: key)
            code.update(data: head)
            code.update(data: body)
            return "v1,\(Data(code.finalize()).base64EncodedString())"
        }
        return codes.joined(separator: " ")
    }
}
