// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Where an upload by URL gets its bytes from.
enum SourceLocation: Sendable, Equatable {
    case http(String)
    /// `sample:SIZE`: so many bytes, made here.
    case sample(bytes: UInt64)

    init?(_ url: String) {
        if url.hasPrefix("http://") || url.hasPrefix("https://") {
            self = .http(url)
        } else if url.hasPrefix("sample:"), let size = ByteSize(url.dropFirst("sample:".count)), size.bytes > 0 {
            self = .sample(bytes: size.bytes)
        } else {
            return nil
        }
    }
}
