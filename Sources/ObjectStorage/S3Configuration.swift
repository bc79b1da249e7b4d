// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Which bucket, where, and with whose keys.
package struct S3Configuration: Sendable {
    /// Base URL without a slash at its end, such as `https://<account>.r2.cloudflarestorage.com`.
    package let endpoint: String
    package let region: String
    package let bucket: String
    package let credentials: StorageCredentials

    package init(endpoint: String, region: String = "auto", bucket: String, credentials: StorageCredentials) {
        var endpoint = endpoint[...]
        while endpoint.hasSuffix("/") { endpoint = endpoint.dropLast() }
        self.endpoint = String(endpoint)
        self.region = region
        self.bucket = bucket
        self.credentials = credentials
    }

    /// The URL in path style, percent-encoded once: of the bucket, or of an object in it.
    package func url(key: String? = nil, query: [(name: String, value: String?)] = []) -> String {
        var url = "\(endpoint)/\(PercentEncoding.encode(bucket))"
        if let key { url += "/\(PercentEncoding.encode(key, keepingSlash: true))" }
        let items = query.map { item in
            [item.name, item.value ?? ""].map { PercentEncoding.encode($0) }.joined(separator: "=")
        }
        return items.isEmpty ? url : "\(url)?\(items.joined(separator: "&"))"
    }
}
