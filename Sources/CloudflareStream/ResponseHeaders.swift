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
