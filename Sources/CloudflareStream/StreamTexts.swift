// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// Tells Stream's public URLs from those that carry a token.
package enum StreamURL {
    private static let lengthMax = 2_048

    /// Whether the URL is one that may be stored: `http(s)`, no query, no fragment, no user, and the clip's own uid as
    /// a segment of its path. A private video's token stands in the uid's place or in the query.
    package static func isPlain(_ text: String, of uid: ClipUID) -> Bool {
        let bytes = text.utf8
        guard bytes.count <= lengthMax, let rest = afterScheme(bytes), rest.allSatisfy(isPlain) else { return false }
        let parts = rest.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard let host = parts.first, !host.isEmpty else { return false }
        return parts.dropFirst().contains { $0.elementsEqual(uid.rawValue.utf8) }
    }

    private static func afterScheme(_ bytes: String.UTF8View) -> Substring.UTF8View? {
        for scheme in ["https://", "http://"] {
            let start = bytes.prefix(scheme.utf8.count)
            let isScheme = zip(start, scheme.utf8).allSatisfy { byte, expected in
                byte == expected || expected >= UInt8(ascii: "a") && byte | 0x20 == expected
            }
            if isScheme, start.count == scheme.utf8.count {
                return bytes.dropFirst(start.count)
            }
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
