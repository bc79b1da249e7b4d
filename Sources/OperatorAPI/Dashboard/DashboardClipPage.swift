// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import Hummingbird

/// The pages of one clip and of one delivery.
extension OperatorAPI {
    private static var deliveriesMax: Int { 20 }
    /// A larger body is shown on its delivery's own page.
    private static var bodyBytesMax: Int { 8 << 10 }

    func clipPage(_ request: Request, _ uid: ClipUID) async throws -> Response {
        let (clip, history, deliveries, seq) = try await store.read { transaction in
            let seq = try transaction.lastChangeSeq()
            return (
                try transaction.clip(uid), try transaction.history(of: uid),
                try transaction.deliveries(uid: uid, before: nil, limit: Self.deliveriesMax), seq
            )
        }
        guard let clip else { throw Problem.unknownClip(uid.rawValue) }
        var view = ClipView(
            explanation: Explanation(clip: clip, history: history, now: clock.now(), policy: policy)
        ).json
        view["notice"] = notice(request)
        view["seq"] = .integer(seq)
        view["hasDeliveries"] = .bool(!deliveries.isEmpty)
        view["deliveries"] = .array(deliveries.map { .object($0.view(bodyBytesMax: Self.bodyBytesMax)) })
        return frame(clip.name.isEmpty ? uid.rawValue : clip.name, script: "clip.js", request).response("clip", view)
    }

    func deliveryPage(_ request: Request, _ id: Int64) async throws -> Response {
        let delivery = try await delivery(id)
        var view = delivery.view(bodyBytesMax: .max)
        view["notice"] = notice(request)
        view["clip"] = JSONValue(delivery.uid?.rawValue)
        view["signature"] = .string(delivery.signatureHeader)
        view["isRepaired"] = .bool(String(validating: delivery.body, as: UTF8.self) == nil)
        return frame("Delivery \(id)", request).response("delivery", view)
    }
}

extension DeliveryRecord {
    fileprivate func view(bodyBytesMax: Int) -> [String: JSONValue] {
        [
            "id": .string(String(id)), "receivedAt": JSONValue(receivedAt), "signedAt": JSONValue(signedAt),
            "receivedText": .string(DashboardText.time(receivedAt) + " UTC"),
            "signedText": .string(DashboardText.time(signedAt) + " UTC"), "outcome": .string(outcome.rawValue),
            "size": .string("\(body.count) bytes"),
            "body": body.count <= bodyBytesMax ? .string(String(decoding: body, as: UTF8.self)) : nil,
        ]
    }
}

/// A clip with its history as its page shows them.
struct ClipView: Sendable {
    /// The latest of a long history.
    private static let timelineMax = 300

    let explanation: Explanation

    private var clip: ClipRecord { explanation.clip }
    private var history: [LedgerEntry] { explanation.history }

    var json: [String: JSONValue] {
        var view = clip.summary(since: explanation.statusSince, now: explanation.now)
        let strip = StatusStrip(history: history, now: explanation.now)
        view["name"] = .string(clip.name.isEmpty ? "Clip without a name" : clip.name)
        view["message"] = .string(
            clip.details[.statusMessage]?.stringValue ?? clip.status?.message ?? "not one of our statuses")
        view["next"] = .string(explanation.next)
        view["error"] = error
        view["buttons"] = .array(buttons)
        view["facts"] = .array(facts)
        view["strip"] = .array(strip.segments.map(\.json))
        view["legend"] = .array(strip.sums.map(\.json))
        view["stripText"] = .string(strip.text)
        view["entries"] = .array(history.suffix(Self.timelineMax).reversed().map(entry))
        view["hasEarlier"] = .bool(history.count > Self.timelineMax)
        view["timelineMax"] = .integer(Int64(Self.timelineMax))
        view["entryCount"] = .integer(Int64(history.count))
        return view
    }

    private var error: JSONValue {
        guard let text = clip.details[.errorMessage]?.stringValue else { return .null }
        return ["code": JSONValue(clip.details[.errorCode]?.stringValue), "text": .string(text)]
    }

    private var buttons: [JSONValue] {
        guard let status = clip.status else { return [] }
        return ClipButton.allCases.filter { $0.serves(status) }.map {
            [
                "action": .string($0.rawValue), "label": .string($0.label),
                "kind": .string($0 == .retry ? "primary" : "plain"),
            ]
        }
    }

    private var facts: [JSONValue] {
        func text(_ key: DetailKey) -> String? { clip.details[key]?.stringValue }
        let size = clip.details[.r2Size]?.integerValue ?? clip.details[.transferTotalBytes]?.integerValue
        let url = text(.r2PublicURL)
        let attempt = clip.work.map { $0.attempt + 1 }
        let duration = clip.details[.duration]?.numberValue.flatMap { Int64(exactly: $0.rounded()) }
        let known: [(String, String?, String?)] = [
            ("Attempt", attempt.map { "\($0)" }, nil),
            ("Due", clip.work.map { DashboardText.time($0.dueAt) + " UTC" }, nil),
            ("Failed from", clip.failedFrom?.rawValue, nil),
            ("Cloudflare says", text(.cloudflareStatus), nil),
            ("MP4", text(.mp4Status), nil),
            ("Length", duration.map { DashboardText.duration(.seconds($0)) }, nil),
            ("Size", size.map { DashboardText.bytes($0) }, nil),
            ("Object", text(.r2Key), url.flatMap { $0.hasPrefix("https://") || $0.hasPrefix("http://") ? $0 : nil }),
            ("Created", DashboardText.time(clip.createdAt) + " UTC", nil),
            ("Last change", DashboardText.time(clip.updatedAt) + " UTC", nil),
        ]
        return known.compactMap { label, value, link in
            value.map { ["label": .string(label), "value": .string($0), "link": JSONValue(link)] }
        }
    }

    private func entry(_ entry: LedgerEntry) -> JSONValue {
        let details = entry.signal.details
        let moved = entry.outcome == .applied ? entry.from.map { "\($0.rawValue) → \(entry.to?.rawValue ?? "")" } : nil
        return [
            "seq": .integer(entry.seq), "at": JSONValue(entry.at), "atText": .string(DashboardText.time(entry.at)),
            "source": .string(entry.signal.source.rawValue), "asked": .string(entry.requestedStatus ?? ""),
            "isRetry": .bool(entry.signal.request == .retry),
            "outcome": .string(entry.outcome?.rawValue ?? "undecided"), "reason": JSONValue(entry.reason?.rawValue),
            "decision": .string(moved ?? explanation.decision(entry)),
            "details": details.isEmpty ? nil : .string(DashboardText.json(details)),
            "detailCount": .integer(Int64(details.count)), "delivery": JSONValue(entry.delivery),
        ]
    }
}

/// How long a clip was in each status, as a strip and in sums.
struct StatusStrip: Sendable {
    struct Segment: Sendable, Equatable {
        var status: ClipStatus
        var time: Duration
        /// In per cent of the strip.
        var x = 0.0
        var width = 0.0

        var json: JSONValue {
            [
                "status": .string(status.rawValue), "age": .string(DashboardText.duration(time)), "x": .double(x),
                "width": .double(width),
            ]
        }
    }

    /// What is shorter would not be seen.
    private static let leastShare = 0.01
    private static let segmentsMax = 60

    let segments: [Segment]
    /// By status, in the order in which the clip came there first.
    let sums: [Segment]

    /// The time in a last status ends with `now`; where nothing is done any more it does not count.
    init(history: [LedgerEntry], now: Timestamp) {
        let steps = history.filter { $0.outcome == .applied && $0.to != nil }
        var all: [Segment] = []
        for (index, step) in steps.enumerated() {
            guard let status = step.to else { continue }
            let isLast = index == steps.count - 1
            if isLast, status.isTerminal { continue }
            all.append(Segment(status: status, time: (isLast ? now : steps[index + 1].at) - step.at))
        }
        var sums: [Segment] = []
        for segment in all {
            if let known = sums.firstIndex(where: { $0.status == segment.status }) {
                sums[known].time += segment.time
            } else {
                sums.append(segment)
            }
        }
        self.sums = sums
        segments = Self.laidOut(Array(all.suffix(Self.segmentsMax)))
    }

    private static func laidOut(_ segments: [Segment]) -> [Segment] {
        let total = segments.reduce(0) { $0 + $1.time.inSeconds }
        let parts = segments.map { max($0.time.inSeconds, total * leastShare, 0.001) }
        let whole = parts.reduce(0, +)
        var before = 0.0
        return zip(segments, parts).map { segment, part in
            defer { before += part }
            var segment = segment
            segment.x = DashboardText.share(before, of: whole)
            segment.width = DashboardText.share(part, of: whole)
            return segment
        }
    }

    /// The strip in words.
    var text: String {
        if sums.isEmpty { return "No time in any status yet" }
        return sums.map { "\($0.status.rawValue) \(DashboardText.duration($0.time))" }.joined(separator: ", ")
    }
}
