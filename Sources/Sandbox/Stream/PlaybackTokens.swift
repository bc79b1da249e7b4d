// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Crypto
import FoundationEssentials

/// Makes and reads the tokens that open private videos: JSON Web Tokens, signed here with HMAC instead of RSA.
struct PlaybackTokens: Sendable {
    struct Claims: Codable, Sendable, Equatable {
        var sub: String
        var kid: String
        var exp: Int64
        var nbf: Int64
        var downloadable: Bool?
    }

    private let keyID: String
    private let key: SymmetricKey

    init(identity: SandboxIdentity) {
        keyID = String(identity.derived("stream signing key id").prefix(32))
        key = SymmetricKey(data: Data(identity.tokenKey.utf8))
    }

    func token(uid: String, exp: Int64, nbf: Int64, downloadable: Bool) -> String {
        let claims = Claims(sub: uid, kid: keyID, exp: exp, nbf: nbf, downloadable: downloadable ? true : nil)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let header = Data(#"{"alg":"HS256","kid":"\#(keyID)","typ":"JWT"}"#.utf8)
        // Five plain members; encoding them can not fail.
        let payload = (try? encoder.encode(claims)) ?? Data()
        let signed = "\(Self.base64URL(header)).\(Self.base64URL(payload))"
        return "\(signed).\(signature(of: signed))"
    }

    /// Nil for what is no token of ours.
    func claims(of token: String) -> Claims? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, signature(of: "\(parts[0]).\(parts[1])") == parts[2],
            let payload = Self.bytes(base64URL: parts[1])
        else { return nil }
        return try? JSONDecoder().decode(Claims.self, from: payload)
    }

    private func signature(of text: String) -> String {
        Self.base64URL(Data(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: key)))
    }

    private static func base64URL(_ data: Data) -> String {
        data.base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    private static func bytes(base64URL text: some StringProtocol) -> Data? {
        let plain = String(text).replacing("-", with: "+").replacing("_", with: "/")
        return Data(base64Encoded: plain + String(repeating: "=", count: (4 - plain.count % 4) % 4))
    }
}
