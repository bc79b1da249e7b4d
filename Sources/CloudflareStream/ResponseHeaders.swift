// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// The header `Retry-After`: seconds or an HTTP date.
package enum RetryAfter {
    /// Longer waits are cut to this: a wrong clock on either side must not stop us for days.
    package static let longest = Duration.seconds(3_600)

    package static func parse(_ text: String, now: Timestamp) -> Duration? {
        let text = text.trimmingSpaces
        if !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            guard let seconds = Int64(text), seconds < 1_000_000 else { return longest }
            return min(.seconds(seconds), longest)
        }
        guard let date = HTTPDate.parse(text) else { return nil }
        return min(max(date - now, .zero), longest)
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that is still sent (RFC 9110, IMF-fixdate).
package enum HTTPDate {
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    package static func parse(_ text: some StringProtocol) -> Timestamp? {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[0].hasSuffix(","), parts[5] == "GMT", let day = number(parts[1], 1...31),
            let month = months.firstIndex(where: { $0 == parts[2] }), let year = number(parts[3], 1970...9999)
        else { return nil }
        let clock = parts[4].split(separator: ":", omittingEmptySubsequences: false)
        guard clock.count == 3, let hour = number(clock[0], 0...23), let minute = number(clock[1], 0...59),
            let second = number(clock[2], 0...60)
        else { return nil }
        let days = daysSince1970(year: year, month: month + 1, day: day)
        return Timestamp(seconds: days * 86_400 + hour * 3_600 + minute * 60 + second)
    }

    private static func number(_ text: some StringProtocol, _ range: ClosedRange<Int64>) -> Int64? {
        guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int64(text).flatMap { range.contains($0) ? $0 : nil }
    }

    /// Counted in years that begin in March, so that the leap day is a year's last.
    private static func daysSince1970(year: Int64, month: Int, day: Int64) -> Int64 {
        let year = month > 2 ? year : year - 1
        let monthsSinceMarch = Int64((month + 9) % 12)
        let dayOfYear = (153 * monthsSinceMarch + 2) / 5 + day - 1
        return year * 365 + year / 4 - year / 100 + year / 400 + dayOfYear - 719_468
    }
}

/// The header `Ratelimit`: `"default";r=50;t=30` says that 50 requests are left for the next 30 s.
package struct RateLimitHint: Sendable, Equatable {
    package var remaining: Int64
    package var resetSeconds: Int64

    package init(remaining: Int64, resetSeconds: Int64) {
        self.remaining = remaining
        self.resetSeconds = resetSeconds
    }

    /// The tightest of the limits that the header names; nil where it names none.
    package static func parse(_ header: String) -> RateLimitHint? {
        header.split(separator: ",").compactMap { parse(item: $0) }.min { $0.pace < $1.pace }
    }

    private var pace: Double { Double(remaining) / Double(max(resetSeconds, 1)) }

    private static func parse(item: Substring) -> RateLimitHint? {
        var (remaining, reset): (Int64?, Int64?)
        for parameter in item.split(separator: ";").dropFirst() {
            let pair = parameter.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, let value = Int64(pair[1].trimmingSpaces), (0...1_000_000).contains(value) else {
                continue
            }
            switch pair[0].trimmingSpaces {
            case "r": remaining = value
            case "t": reset = value
            default: continue
            }
        }
        guard let remaining, let reset else { return nil }
        return RateLimitHint(remaining: remaining, resetSeconds: reset)
    }
}

extension StringProtocol {
    /// Without spaces and tabs at either end.
    var trimmingSpaces: SubSequence {
        var rest = self[...]
        while rest.first == " " || rest.first == "\t" { rest = rest.dropFirst() }
        while rest.last == " " || rest.last == "\t" { rest = rest.dropLast() }
        return rest
    }
}
