// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials

/// `Thu, 27 Nov 2025 10:00:00 GMT`, the one form of date that HTTP wants to be written.
enum HTTPDate {
    private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    static var now: String { text(Timestamp(Date())) }

    static func text(_ time: Timestamp) -> String {
        // 2025-11-27T10:00:00.000Z
        let parts = time.rfc3339.split { "-T:.Z".contains($0) }.map(String.init)
        let dayNumber = Int(time.seconds / 86_400)
        let month = months[(Int(parts[1]) ?? 1) - 1]
        return "\(days[dayNumber % 7]), \(parts[2]) \(month) \(parts[0]) \(parts[3]):\(parts[4]):\(parts[5]) GMT"
    }

    /// Nil for any other form.
    static func time(_ text: String) -> Timestamp? {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", parts[1].count == 2,
            let month = months.firstIndex(of: String(parts[2]))
        else { return nil }
        let monthText = month < 9 ? "0\(month + 1)" : "\(month + 1)"
        return Timestamp(rfc3339: "\(parts[3])-\(monthText)-\(parts[1])T\(parts[4])Z")
    }
}
