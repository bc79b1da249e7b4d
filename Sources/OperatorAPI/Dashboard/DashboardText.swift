// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import FoundationEssentials

/// Times and sizes in few characters; `format.js` writes them alike.
enum DashboardText {
    static func bytes(_ count: some BinaryInteger) -> String {
        var (value, unit) = (Double(count), 0)
        let units = ["B", "kB", "MB", "GB", "TB"]
        while value >= 1000, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        if unit == 0 || value >= 100 { return "\(Int(value)) \(units[unit])" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }

    static func duration(_ duration: Duration) -> String {
        let seconds = max(0, duration.components.seconds)
        func pair(_ big: Int64, _ bigUnit: String, _ small: Int64, _ smallUnit: String) -> String {
            small > 0 ? "\(big) \(bigUnit) \(small) \(smallUnit)" : "\(big) \(bigUnit)"
        }
        switch seconds {
        case ..<60: return "\(seconds) s"
        case ..<600: return pair(seconds / 60, "min", seconds % 60, "s")
        case ..<3600: return "\(seconds / 60) min"
        case ..<86_400: return pair(seconds / 3600, "h", seconds % 3600 / 60, "min")
        default: return pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h")
        }
    }

    /// In UTC, to the second.
    static func time(_ time: Timestamp) -> String {
        time.rfc3339.prefix(19).split(separator: "T").joined(separator: " ")
    }

    static func json(_ details: Details) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        return (try? encoder.encode(details)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    static func share(_ part: Double, of whole: Double) -> Double {
        whole > 0 ? (part / whole * 10_000).rounded() / 100 : 0
    }
}

extension ClipRecord {
    var name: String { details[.name]?.stringValue ?? "" }

    /// Only from Cloudflare's own hosts, which are all that the pages' policy allows.
    var thumbnail: String? {
        guard let url = details[.thumbnailURL]?.stringValue, url.hasPrefix("https://") else { return nil }
        let host = url.dropFirst("https://".count).prefix { $0 != "/" }
        let isPlain = host.utf8.allSatisfy { byte in
            (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == 0x2D || byte == 0x2E
        }
        return isPlain && [".cloudflarestream.com", ".videodelivery.net"].contains { host.hasSuffix($0) } ? url : nil
    }

    /// Of a running transfer.
    private var rate: String {
        guard let perSecond = details[.transferBytesPerSecond]?.integerValue else { return "" }
        let left = details[.transferSecondsLeft]?.integerValue.map { ", \(DashboardText.duration(.seconds($0))) left" }
        return "\(DashboardText.bytes(perSecond))/s\(left ?? "")"
    }

    /// What the list and the clip's own page show of it.
    func summary(since: Timestamp?, now: Timestamp) -> [String: JSONValue] {
        let since = since ?? createdAt
        let attempt = work?.attempt ?? 0
        return [
            "uid": .string(uid.rawValue), "name": .string(name), "thumbnail": JSONValue(thumbnail),
            "status": .string(statusWord ?? ""), "progress": .double(progress),
            "percent": .string("\(Int(progress)) %"), "rate": .string(rate), "since": JSONValue(since),
            "age": .string(DashboardText.duration(now - since)),
            "attempt": .string(attempt > 0 ? "\(attempt + 1)" : ""),
        ]
    }

    /// A row that scripts fill.
    static var blankRow: JSONValue {
        [
            "uid": "", "name": "", "thumbnail": nil, "status": "", "progress": 0, "percent": "", "rate": "",
            "since": "", "age": "", "attempt": "",
        ]
    }
}
