// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// Tells Stream's public URLs from those that carry a token.
package enum StreamURL {
    private static let lengthMax = 2_048

    /// Whether the URL is one that may be stored: `http(s)`, no query, no fragment, no user, and the clip's own uid as
    /// a segment of its path. A private video's token stands in the uid's place or in the query.
    package static func isPlain(_ text: String, of uid: ClipUID) -> Bool {
        let utf8 = text.utf8
        guard utf8.count <= lengthMax else { return false }
        let bytes = utf8.span
        guard let host = hostStart(bytes) else { return false }
        var hasUID = false
        var start = host
        for index in host..<bytes.count {
            guard isPlain(bytes[index]) else { return false }
            guard bytes[index] == UInt8(ascii: "/") else { continue }
            guard start > host || index > host else { return false }
            hasUID = hasUID || start > host && isUID(bytes, start..<index, uid)
            start = index + 1
        }
        return start > host && (hasUID || isUID(bytes, start..<bytes.count, uid))
    }

    private static func isUID(_ bytes: Span<UInt8>, _ range: Range<Int>, _ uid: ClipUID) -> Bool {
        let wanted = uid.rawValue.utf8.span
        guard range.count == wanted.count else { return false }
        for index in wanted.indices where bytes[range.lowerBound + index] != wanted[index] { return false }
        return true
    }

    /// Behind the scheme.
    private static func hostStart(_ bytes: Span<UInt8>) -> Int? {
        for scheme in ["https://", "http://"] as [StaticString] {
            let expected = "\(scheme)".utf8
            guard bytes.count > expected.count else { continue }
            let isScheme = expected.enumerated().allSatisfy { index, byte in
                bytes[index] == byte || byte >= UInt8(ascii: "a") && bytes[index] | 0x20 == byte
            }
            if isScheme { return expected.count }
        }
        return nil
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "?"), UInt8(ascii: "#"), UInt8(ascii: "@"), UInt8(ascii: "\\"), UInt8(ascii: "\""),
            UInt8(ascii: "<"), UInt8(ascii: ">"):
            false
        default: (0x21...0x7E).contains(byte)
        }
    }
}

/// Makes texts from outside fit to be shown and stored.
package enum DisplayText {
    /// Without control characters, and cut at `lengthMax` characters.
    package static func bounded(_ text: String, lengthMax: Int) -> String {
        let isPlain = text.utf8.allSatisfy { (0x20...0x7E).contains($0) }
        if isPlain, text.utf8.count <= lengthMax { return text }
        let visible = text.unicodeScalars.prefix(lengthMax * 4).filter { !$0.properties.isControl }
        let clean = String(String.UnicodeScalarView(visible))
        return clean.count <= lengthMax ? clean : clean.prefix(lengthMax - 1) + "…"
    }
}

extension Unicode.Scalar.Properties {
    fileprivate var isControl: Bool {
        switch generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: true
        default: false
        }
    }
}

/// Puts Cloudflare's reasons for a failed video into words that tell an operator what to do.
enum EncodeFailure {
    static func message(code: String?, text: String?) -> String {
        let advice = advice(code)
        let quoted = [code, text].compactMap { $0 }.map { DisplayText.bounded($0, lengthMax: 300) }
        guard !quoted.isEmpty else { return "Cloudflare could not process the video and gave no reason: \(advice)" }
        return "Cloudflare could not process the video: \(advice) (\(quoted.joined(separator: ": ")))"
    }

    private static func advice(_ code: String?) -> String {
        switch code {
        case "ERR_NON_VIDEO":
            "the file is not a video; upload one that is"
        case "ERR_DURATION_EXCEED_CONSTRAINT":
            "it is longer than its upload link allows; upload it again with a larger maxDurationSeconds"
        case "ERR_FETCH_ORIGIN_ERROR":
            "its URL could not be fetched; see that the URL is public and upload it again"
        case "ERR_MALFORMED_VIDEO":
            "the file is damaged; export it anew and upload that"
        case "ERR_DURATION_TOO_SHORT":
            "it is shorter than 0.1 s; upload a longer one"
        default:
            "upload it again, and if it fails again ask Cloudflare's support with the clip's uid"
        }
    }
}
