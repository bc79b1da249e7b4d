// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import Hummingbird

/// The page with the counts, the health panel and the clips.
extension OperatorAPI {
    private static var rowsMax: Int { 100 }
    private static var searchLengthMax: Int { 100 }

    /// What is asked for of all clips.
    private struct Choice: Sendable {
        var status: ClipStatus?
        var search = ""
        var cursor: Int64?

        init(_ request: Request) throws {
            let query = request.uri.queryParameters
            status = query["status"].flatMap { ClipStatus(rawValue: String($0)) }
            let words = request.formField("q").map { $0.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
            search = String((words ?? "").prefix(OperatorAPI.searchLengthMax))
            cursor = try request.cursor()
        }

        func link(cursor: Int64?) -> String {
            let parts = [
                status.map { "status=\($0.rawValue)" }, search.isEmpty ? nil : "q=\(search.percentEncoded)",
                cursor.map { "cursor=\($0)" },
            ].compactMap { $0 }
            return parts.isEmpty ? "/" : "/?\(parts.joined(separator: "&"))"
        }
    }

    private struct Found: Sendable {
        var clips: [ClipRecord]
        var isBounded = false
        var hasMore = false
        var times: [ClipUID: Timestamp] = [:]
        var seq: Int64 = 0
    }

    func clipsPage(_ request: Request) async throws -> Response {
        let choice = try Choice(request)
        let now = clock.now()
        let found = try await find(choice)
        let health = await health(at: now)
        let counts = health.service.store?.clipCounts
        let rows = found.clips.map { JSONValue.object($0.summary(since: found.times[$0.uid], now: now)) }
        let next = found.hasMore ? found.clips.last.map { choice.link(cursor: $0.changeSeq) } : nil
        let isFiltered = choice.status != nil || !choice.search.isEmpty
        let note =
            "Names were looked for only in the \(ClipSearch.newestMax) clips that changed last; "
            + "a uid's beginning finds any."
        return frame("Clips", script: "list.js", request).response(
            "clips",
            [
                "statuses": .array(Self.shares(counts, chosen: choice.status)),
                "total": .integer(Int64(counts?.values.reduce(0, +) ?? 0)),
                "health": .array(health.figures.map(\.json)), "rows": .array(rows), "hasRows": .bool(!rows.isEmpty),
                "blank": ClipRecord.blankRow, "seq": .integer(found.seq),
                "chosen": .string(choice.status?.rawValue ?? ""), "search": .string(choice.search),
                "isFirstPage": .bool(choice.cursor == nil), "rowsMax": .integer(Int64(Self.rowsMax)),
                "listTitle": .string(isFiltered ? "Clips found" : "Clips, newest change first"),
                "isFiltered": .bool(isFiltered), "searchNote": found.isBounded ? .string(note) : nil,
                "newestLink": .string(choice.link(cursor: nil)), "nextLink": JSONValue(next),
                "emptyText": .string(
                    isFiltered
                        ? "No clip is like that."
                        : "No clip yet. One appears with its first webhook, or when it is registered."),
            ])
    }

    private func find(_ choice: Choice) async throws -> Found {
        try await store.read { transaction in
            // Before the clips, so that a change in between comes over the stream.
            let seq = try transaction.lastChangeSeq()
            var found: Found
            if choice.search.isEmpty {
                let clips = try transaction.clips(
                    status: choice.status, before: choice.cursor, limit: Self.rowsMax + 1)
                found = Found(clips: Array(clips.prefix(Self.rowsMax)), hasMore: clips.count > Self.rowsMax)
            } else {
                let search = ClipSearch(text: choice.search, status: choice.status, limit: Self.rowsMax)
                let result = try search.find(in: transaction)
                found = Found(clips: result.clips, isBounded: result.isBounded)
            }
            found.times = try transaction.statusTimes(of: found.clips.map(\.uid))
            found.seq = seq
            return found
        }
    }

    /// The counts and the panel as the list's script takes them, every second or so.
    func dashboardSummary() async -> Response {
        let now = clock.now()
        let health = await health(at: now)
        let counts = health.service.store?.clipCounts
        return .json([
            "now": JSONValue(now), "statuses": .array(Self.shares(counts, chosen: nil)),
            "health": .array(health.figures.map(\.json)),
        ])
    }

    /// Each status with its count and its part of a bar of all.
    private static func shares(_ counts: [ClipStatus: Int]?, chosen: ClipStatus?) -> [JSONValue] {
        let total = Double(counts?.values.reduce(0, +) ?? 0)
        var before = 0.0
        return ClipStatus.allCases.sorted().map { status in
            let count = counts?[status] ?? 0
            defer { before += Double(count) }
            return [
                "status": .string(status.rawValue), "count": .string(counts == nil ? "–" : "\(count)"),
                "x": .double(DashboardText.share(before, of: total)),
                "width": .double(DashboardText.share(Double(count), of: total)), "isChosen": .bool(status == chosen),
            ]
        }
    }

    private func health(at now: Timestamp) async -> Health {
        let service = await metrics.health.read()
        // A store that did not answer just now is not waited for a second time.
        let found =
            service.store == nil
            ? nil
            : try? await store.read { transaction in
                let activity = try transaction.activity(at: now)
                return (activity, try activity.longestWork.flatMap { try transaction.clip($0.uid) }?.status)
            }
        return Health(
            service: service, activity: found?.0, longestStatus: found?.1,
            meanLagSeconds: metrics.health.registry.mean(of: "clipbridge_signal_lag_seconds"), settings: settings,
            policy: policy, now: now)
    }
}
