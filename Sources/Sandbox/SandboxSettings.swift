// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import ObjectStorage

/// The names and secrets of the account that a sandbox plays; they follow from its seed alone.
struct SandboxIdentity: Sendable {
    let seed: UInt64

    var accountID: String { String(derived("account").prefix(32)) }
    var apiToken: String { String(derived("token").prefix(40)) }
    var accessKeyID: String { String(derived("access key").prefix(32)) }
    /// Made from the token as R2 does it: its SHA-256.
    var secretAccessKey: String { hexadecimal(SHA256.hash(data: Data(apiToken.utf8))) }
    /// Signs the tokens of private videos.
    var tokenKey: String { derived("stream signing key") }

    /// The secret of the n-th webhook subscription, from 1.
    func webhookSecret(_ number: Int) -> String { String(derived("webhook \(number)").prefix(32)) }

    /// The n-th video's uid, from 1.
    func videoUID(_ number: Int) -> String { String(derived("video \(number)").prefix(32)) }

    func derived(_ purpose: String) -> String {
        hexadecimal(SHA256.hash(data: Data("clipbridge sandbox \(seed) \(purpose)".utf8)))
    }
}

/// The settings that point a bridge at a sandbox.
package struct SandboxSettings: Sendable, Equatable {
    /// `http://127.0.0.1:PORT`
    package var origin: String
    package var port: Int
    package var accountID: String
    package var apiToken: String
    /// Of the subscription made at start, or of the first one to be made.
    package var webhookSecret: String
    package var accessKeyID: String
    package var secretAccessKey: String
    package var bucket: String

    init(identity: SandboxIdentity, port: Int, bucket: String) {
        self.origin = "http://127.0.0.1:\(port)"
        self.port = port
        self.accountID = identity.accountID
        self.apiToken = identity.apiToken
        self.webhookSecret = identity.webhookSecret(1)
        self.accessKeyID = identity.accessKeyID
        self.secretAccessKey = identity.secretAccessKey
        self.bucket = bucket
    }

    package var apiBase: String { "\(origin)/client/v4" }
    package var publicURL: String { "\(origin)/public" }

    /// In the contract's order and names.
    package var lines: [(name: String, value: String)] {
        [
            ("CLOUDFLARE_ACCOUNT_ID", accountID),
            ("CLOUDFLARE_API_TOKEN", apiToken),
            ("CLOUDFLARE_WEBHOOK_SECRET", webhookSecret),
            ("CLOUDFLARE_API_BASE", apiBase),
            ("R2_ACCOUNT_ID", accountID),
            ("R2_ACCESS_KEY_ID", accessKeyID),
            ("R2_SECRET_ACCESS_KEY", secretAccessKey),
            ("R2_BUCKET_NAME", bucket),
            ("R2_ENDPOINT", origin),
            ("R2_PUBLIC_URL", publicURL),
            ("CLIPBRIDGE_DOWNLOAD_HOSTS", "127.0.0.1:\(port)"),
        ]
    }

    /// `NAME=value`, one a line.
    package var text: String { lines.map { "\($0.name)=\($0.value)\n" }.joined() }
}
