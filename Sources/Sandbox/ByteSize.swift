// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// A number of bytes as people write it: `100000`, `5MB`, `5M`, `5MiB`, `2GiB`.
struct ByteSize: Sendable, Equatable {
    let bytes: UInt64

    init?(_ text: some StringProtocol) {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard let number = Double(digits), let factor = Self.factor(of: text.dropFirst(digits.count)) else {
            return nil
        }
        // Beyond 2^53 a Double no longer counts single bytes, and nobody means such a file.
        let bytes = number * factor
        guard bytes >= 0, bytes <= 9_007_199_254_740_992 else { return nil }
        self.bytes = UInt64(bytes)
    }

    private static func factor(of unit: some StringProtocol) -> Double? {
        switch unit.lowercased() {
        case "", "b": 1
        case "k", "kb": 1e3
        case "m", "mb": 1e6
        case "g", "gb": 1e9
        case "kib": 1024
        case "mib": 1_048_576
        case "gib": 1_073_741_824
        default: nil
        }
    }
}
