// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore

/// What the dashboard has to know of the settings.
package struct DashboardSettings: Sendable {
    /// Such as `SQLite`.
    package var storeKind: String
    /// Whether browsers come by `https`, whatever a proxy's header says.
    package var isSecure: Bool

    package init(storeKind: String = "Memory", isSecure: Bool = false) {
        self.storeKind = storeKind
        self.isSecure = isSecure
    }
}

/// One figure of the health panel, with the word for how it is.
struct HealthFigure: Sendable {
    enum Level: String, Sendable {
        case good, warn, bad
    }

    var key: String
    var label: String
    var value: String
    var note = ""
    var level = Level.good
    var link: String?

    var json: JSONValue {
        [
            "key": .string(key), "label": .string(label), "value": .string(value), "note": .string(note),
            "level": .string(level.rawValue), "link": JSONValue(link),
        ]
    }
}

/// How the bridge does, in six figures.
struct Health: Sendable {
    var service: ServiceHealth
    /// Nil while the store does not answer.
    var activity: StoreActivity?
    /// The status of the clip that has been in its stage the longest.
    var longestStatus: ClipStatus?
    var meanLagSeconds: Double?
    var settings: DashboardSettings
    var policy: LifecyclePolicy
    var now: Timestamp

    var figures: [HealthFigure] { [webhooks, lag, budget, transfers, longest, store] }

    private static let unknown = "–"

    private var webhooks: HealthFigure {
        let last = activity?.lastDeliveryAt.map { "last \(DashboardText.duration(now - $0)) ago" } ?? "none yet"
        return HealthFigure(
            key: "webhooks", label: "Webhooks",
            value: activity.map { "\($0.deliveriesLastMinute) / min" } ?? Self.unknown,
            note: activity.map { "\($0.deliveriesLastFiveMinutes) in 5 min, \(last)" } ?? "")
    }

    private var lag: HealthFigure {
        let oldest = service.store?.longestPending ?? .zero
        return HealthFigure(
            key: "lag", label: "Signal lag",
            value: service.store == nil ? Self.unknown : DashboardText.duration(oldest),
            note: meanLagSeconds.map { "mean \(Int(($0 * 1000).rounded())) ms" } ?? "",
            level: oldest > .seconds(60) ? .bad : oldest > .seconds(5) ? .warn : .good)
    }

    private var budget: HealthFigure {
        let budget = service.cloudflareBudget
        return HealthFigure(
            key: "budget", label: "Cloudflare budget", value: budget.map { "\(Int($0))" } ?? Self.unknown,
            note: budget == nil ? "not asked yet" : "requests left",
            level: budget.map { $0 < 1 ? .bad : $0 < 100 ? .warn : .good } ?? .good)
    }

    private var transfers: HealthFigure {
        let (used, most) = (service.spoolBytes, service.spoolBytesMax)
        return HealthFigure(
            key: "transfers", label: "Transfers",
            value: activity.map { "\($0.runningTransfers) running" } ?? Self.unknown,
            note: "spool \(DashboardText.bytes(used))" + (most > 0 ? " of \(DashboardText.bytes(most))" : ""),
            level: most > 0 && Double(used) > 0.9 * Double(most) ? .warn : .good)
    }

    private var longest: HealthFigure {
        var figure = HealthFigure(
            key: "longest", label: "Longest in its stage", value: activity == nil ? Self.unknown : "none")
        guard let work = activity?.longestWork else { return figure }
        let age = now - work.stageEnteredAt
        figure.value = DashboardText.duration(age)
        figure.note = "\(longestStatus?.rawValue ?? "") \(work.uid.rawValue.prefix(8))…"
        figure.link = "/clips/\(work.uid)"
        if let limit = longestStatus.flatMap({ policy.deadline(of: $0.stage) }) {
            figure.level = age > limit ? .bad : age > limit / 2 ? .warn : .good
        }
        return figure
    }

    private var store: HealthFigure {
        HealthFigure(
            key: "store", label: "Store", value: settings.storeKind,
            note: service.store == nil ? "does not answer" : "reachable", level: service.store == nil ? .bad : .good)
    }
}
