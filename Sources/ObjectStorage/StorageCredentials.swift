// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// An S3 key pair; its description never shows the secret half.
package struct StorageCredentials: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var accessKeyID: String
    package var secretAccessKey: String
    /// Comes with temporary keys.
    package var sessionToken: String?

    package init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
    }

    package var description: String { "StorageCredentials(accessKeyID: \"\(accessKeyID)\", …)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: ["accessKeyID": accessKeyID]) }
}
