// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Reads the forms that settings' values take. Each returns nil for what it does not accept.
enum SettingValue {
    /// Seconds, or a number with `ms`, `s`, `m`, `h` or `d`; not negative.
    static func duration(_ text: String) -> Duration? {
        guard let (number, unit) = split(text) else { return nil }
        let secondsPerUnit: Double? =
            switch unit {
            case "", "s": 1
            case "ms": 0.001
            case "m": 60
            case "h": 3_600
            case "d": 86_400
            default: nil
            }
        guard let seconds = secondsPerUnit.map({ $0 * number }), seconds <= 100 * 366 * 86_400 else { return nil }
        return .milliseconds(Int64((seconds * 1_000).rounded()))
    }

    /// Bytes, or a number with `KiB`, `MiB`, `GiB`, `TiB` (1024) or `k`, `M`, `G`, `T` (1000), these with or without
    /// `B`.
    static func bytes(_ text: String) -> UInt64? {
        guard let (number, unit) = split(text) else { return nil }
        let factor: Double? =
            switch unit {
            case "", "B": 1
            case "k", "kB", "K", "KB": 1e3
            case "M", "MB": 1e6
            case "G", "GB": 1e9
            case "T", "TB": 1e12
            case "KiB": 1_024
            case "MiB": 1_048_576
            case "GiB": 1_073_741_824
            case "TiB": 1_099_511_627_776
            default: nil
            }
        guard let bytes = factor.map({ ($0 * number).rounded() }), bytes < 9e18 else { return nil }
        return UInt64(bytes)
    }

    static func bool(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "true", "yes", "on", "1": true
        case "false", "no", "off", "0": false
        default: nil
        }
    }

    static func whole(_ text: String, in range: ClosedRange<Int>) -> Int? {
        Int(text).flatMap { range.contains($0) ? $0 : nil }
    }

    /// Comma-separated, without empty ones.
    static func list(_ text: String) -> [String] {
        text.split(separator: ",").map { $0.trimmingSpaces }.filter { !$0.isEmpty }
    }

    private static func split(_ text: String) -> (Double, Substring)? {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard let number = Double(digits), number.isFinite, !digits.isEmpty else { return nil }
        return (number, text.dropFirst(digits.count))
    }
}

extension StringProtocol {
    var trimmingSpaces: String {
        let front = drop { $0 == " " || $0 == "\t" }
        guard let last = front.lastIndex(where: { $0 != " " && $0 != "\t" }) else { return "" }
        return String(front[...last])
    }
}
