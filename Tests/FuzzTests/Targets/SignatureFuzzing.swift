// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Crypto

@testable import WebhookReceiver

/// A header is taken for what it says and nothing else, and only the secret makes it genuine.
enum SignatureFuzzing {
    /// As in `fixtures/signatures/vectors.json`, whose headers are the inputs to begin with.
    private static let secret = "85011ed3a913c6ad5f9cf6c5573cc0a7"
    private static let body = Array("{\"uid\":\"dd5d531a12de0c724bd1275a3b2bc9c6\"}".utf8)
    private static let now = Timestamp(seconds: 1_230_811_200)
    private static let tolerance: Int64 = 300
    private static let verifier = WebhookVerifier(
        secrets: WebhookSecrets([secret]), tolerance: .seconds(tolerance))

    static func run(_ bytes: [UInt8]) throws(BrokenPromise) -> Bool {
        guard let signature = WebhookSignature(header: bytes) else { return false }
        try promise((0..<1_000_000_000_000).contains(signature.time), "a time of \(signature.time)")
        try checkMembers(signature)
        return try checkGenuine(signature)
    }

    private static func checkMembers(_ signature: WebhookSignature) throws(BrokenPromise) {
        let header = "time=\(String(decoding: signature.timeText, as: UTF8.self)),sig1=\(hex(signature.sig1))"
        try promise(WebhookSignature(header: header.utf8) == signature, "written anew it is another: \(header)")
        try promise(
            WebhookSignature(header: "sig2=00, \(header) ,=,x".utf8) == signature,
            "others' members change it: \(header)")
        for member in ["time=1", "sig1=\(hex(signature.sig1))"] {
            try promise(WebhookSignature(header: "\(header),\(member)".utf8) == nil, "\(member) twice: \(header)")
        }
    }

    private static func checkGenuine(_ signature: WebhookSignature) throws(BrokenPromise) -> Bool {
        let message = signature.timeText + [UInt8(ascii: ".")] + body
        let code = HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: Array(secret.utf8)))
        let result = result(of: signature)
        guard code == signature.sig1 else {
            try promise(result == .mismatch, "a forged signature is \(String(describing: result))")
            return false
        }
        let age = now.seconds - signature.time
        let expected: SignatureRefusal? = abs(age) <= tolerance ? nil : .expired(ageSeconds: age)
        try promise(result == expected, "a genuine signature is \(String(describing: result))")
        return result == nil
    }

    private static func result(of signature: WebhookSignature) -> SignatureRefusal? {
        do throws(SignatureRefusal) {
            try verifier.verify(signature, body: body, now: now)
            return nil
        } catch {
            return error
        }
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 0x10 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
