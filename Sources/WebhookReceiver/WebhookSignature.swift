// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// The parsed header `Webhook-Signature: time=<unix seconds>,sig1=<64 hex>`.
///
/// Parsing is strict in what counts and total: whatever the bytes, it answers and never traps. Members with other keys
/// are ignored, so that a later `sig2` does not break us.
package struct WebhookSignature: Sendable, Equatable {
    /// Far more than the two members need.
    private static let headerBytesMax = 1_024
    /// Enough for 30,000 years, and far from overflowing.
    private static let timeDigitsMax = 12
    private static let digestBytes = 32

    /// When the request was sent, in Unix seconds.
    package let time: Int64
    /// `time` as it was written, since that is what was signed.
    let timeText: [UInt8]
    let sig1: [UInt8]

    package init?(header: some Collection<UInt8>) {
        guard header.count <= Self.headerBytesMax else { return nil }
        let header = Array(header)
        var (time, sig1): (ArraySlice<UInt8>?, ArraySlice<UInt8>?)
        var rest = header[...]
        while true {
            let member = rest.prefix { $0 != UInt8(ascii: ",") }
            if let equals = member.firstIndex(of: UInt8(ascii: "=")) {
                let (key, value) = (Self.trimmed(member[..<equals]), Self.trimmed(member[(equals + 1)...]))
                if key == Self.timeKey {
                    guard time == nil else { return nil }
                    time = value
                } else if key == Self.sig1Key {
                    guard sig1 == nil else { return nil }
                    sig1 = value
                }
            }
            guard member.endIndex < header.endIndex else { break }
            rest = header[(member.endIndex + 1)...]
        }
        guard let time, let sig1, let seconds = Self.seconds(time), let digest = Self.digest(sig1) else { return nil }
        self.time = seconds
        self.timeText = Array(time)
        self.sig1 = digest
    }

    private static let timeKey = ArraySlice("time".utf8)
    private static let sig1Key = ArraySlice("sig1".utf8)

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isSpace: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
        var rest = bytes.drop(while: isSpace)
        while let last = rest.last, isSpace(last) { rest.removeLast() }
        return rest
    }

    private static func seconds(_ digits: ArraySlice<UInt8>) -> Int64? {
        guard (1...timeDigitsMax).contains(digits.count) else { return nil }
        var value: Int64 = 0
        for digit in digits {
            guard (0x30...0x39).contains(digit) else { return nil }
            value = value * 10 + Int64(digit - 0x30)
        }
        return value
    }

    private static func digest(_ hex: ArraySlice<UInt8>) -> [UInt8]? {
        guard hex.count == digestBytes * 2 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digestBytes)
        var high: UInt8?
        for character in hex {
            guard let nibble = nibble(character) else { return nil }
            if let upper = high {
                bytes.append(upper << 4 | nibble)
                high = nil
            } else {
                high = nibble
            }
        }
        return bytes
    }

    private static func nibble(_ character: UInt8) -> UInt8? {
        switch character {
        case 0x30...0x39: character - 0x30
        case 0x41...0x46: character - 0x41 + 10
        case 0x61...0x66: character - 0x61 + 10
        default: nil
        }
    }
}
