// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// One `--fault`: what goes wrong, where, how often.
///
/// The grammar is `key=value[,key=value…]`:
///
/// | key | value |
/// |---|---|
/// | `route` | one of ``FaultRoute``, always given |
/// | `kind` | `latency`, `status`, `429`, `reset`, `truncate`, `stall`, `drop`, `duplicate` |
/// | `rate` | share of the route's requests from 0 to 1, default 1 |
/// | `count` | strikes at most so often, default without end |
/// | `skip` | lets so many of the route's requests pass first, default 0 |
/// | `latency` | a duration (`250`, `250ms`, `2s`); implies `kind=latency` |
/// | `status` | 400 to 599; implies `kind=status` |
/// | `retry-after` | seconds, with `status`; default 1 with 429, otherwise none |
/// | `code` | what S3 calls the error (`NoSuchUpload`), with `status` on the S3 routes; default by the status |
/// | `after` | a size (`1MiB`), with `reset`, `truncate` and `stall`: so many body bytes pass first, default 0 |
///
/// `reset` breaks the connection, `truncate` closes it in an orderly way, `stall` keeps it open and silent. They cut
/// the request's body on the routes `put`, `part` and `upload`, the answer's on all others. `drop` carries the request
/// out and then resets the connection instead of answering. For `webhook` there are `latency`, `drop` (the delivery is
/// never sent) and `duplicate` (it is sent twice).
package struct FaultSpec: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        case latency(Duration)
        case status(Int, retryAfter: Int?, code: String? = nil)
        case reset(after: UInt64)
        case truncate(after: UInt64)
        case stall(after: UInt64)
        case drop
        case duplicate
    }

    package var route: FaultRoute
    package var kind: Kind
    package var rate: Double
    package var count: Int?
    package var skip: Int

    package init(route: FaultRoute, kind: Kind, rate: Double = 1, count: Int? = nil, skip: Int = 0) {
        self.route = route
        self.kind = kind
        self.rate = rate
        self.count = count
        self.skip = skip
    }

    /// Why a text is no fault.
    package struct ParseError: Error, Equatable, CustomStringConvertible {
        package var description: String
    }
}

extension FaultSpec {
    private static let keys = [
        "route", "kind", "rate", "count", "skip", "latency", "status", "retry-after", "code", "after",
    ]
    private static let kinds = ["latency", "status", "429", "reset", "truncate", "stall", "drop", "duplicate"]

    /// Reads the grammar above.
    package init(parsing text: String) throws(ParseError) {
        var values = try Self.values(in: text)
        func fail(_ reason: String) -> ParseError { ParseError(description: "fault \"\(text)\": \(reason)") }

        guard let routeName = values.removeValue(forKey: "route") else { throw fail("\"route\" is missing") }
        guard let route = FaultRoute(rawValue: routeName) else {
            let known = FaultRoute.allCases.map(\.rawValue).joined(separator: ", ")
            throw fail("unknown route \"\(routeName)\"; there are \(known)")
        }
        let rateText = values.removeValue(forKey: "rate") ?? "1"
        guard let rate = Double(rateText), (0...1).contains(rate) else {
            throw fail("rate \"\(rateText)\" is no number from 0 to 1")
        }
        let countText = values.removeValue(forKey: "count")
        let count = countText.flatMap(Int.init)
        if let countText, (count ?? 0) < 1 { throw fail("count \"\(countText)\" is no whole number from 1 on") }
        let skipText = values.removeValue(forKey: "skip") ?? "0"
        guard let skip = Int(skipText), skip >= 0 else { throw fail("skip \"\(skipText)\" is no whole number") }
        do {
            let kind = try Self.kind(from: &values)
            self.init(route: route, kind: kind, rate: rate, count: count, skip: skip)
        } catch {
            throw fail(error.description)
        }
        if let left = values.keys.sorted().first { throw fail("\"\(left)\" means nothing for this kind") }
        if let reason = mismatch { throw fail(reason) }
    }

    private static func values(in text: String) throws(ParseError) -> [String: String] {
        var values: [String: String] = [:]
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let sides = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard sides.count == 2, !sides[1].isEmpty else {
                throw ParseError(description: "fault \"\(text)\": \"\(item)\" is not of the form key=value")
            }
            guard keys.contains(sides[0]) else {
                throw ParseError(
                    description:
                        "fault \"\(text)\": unknown key \"\(sides[0])\"; there are \(keys.joined(separator: ", "))")
            }
            guard values.updateValue(sides[1], forKey: sides[0]) == nil else {
                throw ParseError(description: "fault \"\(text)\": \"\(sides[0])\" is given twice")
            }
        }
        return values
    }

    private static func kind(from values: inout [String: String]) throws(ParseError) -> Kind {
        let implied = values["latency"] != nil ? "latency" : values["status"] != nil ? "status" : nil
        guard let name = values.removeValue(forKey: "kind") ?? implied else {
            throw ParseError(description: "\"kind\" is missing; there are \(kinds.joined(separator: ", "))")
        }
        switch name {
        case "latency":
            let text = values.removeValue(forKey: "latency") ?? ""
            guard let delay = duration(text) else {
                throw ParseError(description: "latency \"\(text)\" is no duration such as 250, 250ms or 2s")
            }
            return .latency(delay)
        case "status", "429":
            return try status(named: name, from: &values)
        case "reset": return .reset(after: try after(from: &values))
        case "truncate": return .truncate(after: try after(from: &values))
        case "stall": return .stall(after: try after(from: &values))
        case "drop": return .drop
        case "duplicate": return .duplicate
        default:
            throw ParseError(description: "unknown kind \"\(name)\"; there are \(kinds.joined(separator: ", "))")
        }
    }

    private static func status(named name: String, from values: inout [String: String]) throws(ParseError) -> Kind {
        let text = values.removeValue(forKey: "status") ?? (name == "429" ? "429" : "503")
        guard let status = Int(text), (400...599).contains(status) else {
            throw ParseError(description: "status \"\(text)\" is not from 400 to 599")
        }
        let delayText = values.removeValue(forKey: "retry-after")
        let delay = delayText.flatMap(Int.init)
        if let delayText, (delay ?? -1) < 0 {
            throw ParseError(description: "retry-after \"\(delayText)\" is no number of seconds")
        }
        let code = values.removeValue(forKey: "code")
        return .status(status, retryAfter: delay ?? (status == 429 ? 1 : nil), code: code)
    }

    private static func after(from values: inout [String: String]) throws(ParseError) -> UInt64 {
        guard let text = values.removeValue(forKey: "after") else { return 0 }
        guard let size = ByteSize(text) else {
            throw ParseError(description: "after \"\(text)\" is no size such as 65536, 64KiB or 1MB")
        }
        return size.bytes
    }

    private static func duration(_ text: String) -> Duration? {
        let units: [(String, Double)] = [("ms", 0.001), ("s", 1)]
        for (unit, seconds) in units where text.hasSuffix(unit) {
            return Double(text.dropLast(unit.count)).flatMap { $0 >= 0 ? .seconds($0 * seconds) : nil }
        }
        return Double(text).flatMap { $0 >= 0 ? .seconds($0 / 1000) : nil }
    }

    /// Why this kind can not strike this route.
    private var mismatch: String? {
        switch (route, kind) {
        case (.webhook, .latency), (.webhook, .drop), (.webhook, .duplicate): nil
        case (.webhook, _): "a webhook takes latency, drop and duplicate only"
        case (_, .duplicate): "only a webhook can be sent twice"
        case (_, .status(_, _, .some)) where !route.isStorage: "only the errors of S3 have a code"
        case (_, _): nil
        }
    }
}
