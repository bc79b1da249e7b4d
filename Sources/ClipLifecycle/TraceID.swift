// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Names a request through everything that follows from it: the webhook or the operator's call, its ledger entry, the
/// actions that the entry brings about, and their own entries. Sixteen bytes in lower-case hexadecimal, not all zero,
/// as the W3C's Trace Context (https://www.w3.org/TR/trace-context/) has it.
public struct TraceID: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    /// Of the request that is being answered.
    @TaskLocal public static var current: TraceID?

    public let rawValue: String

    public init?(rawValue: String) {
        let isHex = rawValue.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
        }
        guard rawValue.utf8.count == 32, isHex, rawValue.utf8.contains(where: { $0 != UInt8(ascii: "0") }) else {
            return nil
        }
        self.rawValue = rawValue
    }

    /// Reads a `traceparent` header: `VERSION-TRACE-PARENT-FLAGS`, where a later version than 00 may go on after that.
    public init?(traceparent: String) {
        let fields = traceparent.split(separator: "-", omittingEmptySubsequences: false)
        guard fields.count >= 4, fields[0].utf8.count == 2, fields[0] != "ff", fields[0] != "00" || fields.count == 4,
            fields[2].utf8.count == 16, fields[3].utf8.count == 2
        else { return nil }
        self.init(rawValue: String(fields[1]))
    }

    /// The one that a request names in its `traceparent`, or a new one.
    public static func of(traceparent: String?) -> TraceID {
        traceparent.flatMap(TraceID.init(traceparent:)) ?? .random()
    }

    /// A new one.
    public static func random() -> TraceID {
        var generator = SystemRandomNumberGenerator()
        let (first, second) = (generator.next() | 1, generator.next())  // Not all zero.
        return TraceID(halves: first, second)
    }

    private init(halves first: UInt64, _ second: UInt64) {
        var digits: [UInt8] = []
        digits.reserveCapacity(32)
        for half in [first, second] {
            for shift in stride(from: 60, through: 0, by: -4) {
                let digit = UInt8(truncatingIfNeeded: half >> shift & 0xF)
                digits.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            }
        }
        rawValue = String(decoding: digits, as: UTF8.self)
    }

    public var description: String { rawValue }
}
