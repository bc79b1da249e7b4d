// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// A Cloudflare Stream video's identifier: 1 to 32 of `[0-9a-zA-Z_-]`.
///
/// 32 is Cloudflare's documented maximum; the alphabet keeps a uid safe in paths, URLs and object keys.
public struct ClipUID: Hashable, Sendable, CustomStringConvertible {
    public static let lengthMax = 32

    public let rawValue: String

    public init?(_ text: some StringProtocol) { self.init(String(text)) }

    public init?(_ text: String) {
        guard (1...Self.lengthMax).contains(text.utf8.count), text.utf8.allSatisfy(Self.isAllowed) else { return nil }
        self.rawValue = text
    }

    public var description: String { rawValue }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

extension ClipUID: Comparable {
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

extension ClipUID: Codable {
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let uid = ClipUID(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\"\(text)\" is not a clip's uid"))
        }
        self = uid
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}
