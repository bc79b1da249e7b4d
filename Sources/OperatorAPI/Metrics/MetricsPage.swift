// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import Hummingbird
import NIOCore

/// What `GET /metrics` shows: what was counted, and what is read at the moment it is asked for.
package struct MetricsPage: Sendable {
    let version: String
    let health: HealthReader

    /// - Parameter version: the program's.
    package init(version: String, health: HealthReader) {
        self.version = version
        self.health = health
    }

    func response() async -> Response {
        let health = await self.health.read()
        let readings = storeFamilies(health.store) + spoolFamilies(health) + [buildInfo] + ProcessMetrics.read()
        return Response(
            status: .ok,
            headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: self.health.registry.text(with: readings))))
    }

    private var buildInfo: MetricFamily {
        var family = MetricFamily("clipbridge_build_info", .gauge, "Always 1; the label tells the program's version.")
        family.samples = [MetricSample(LabelSet([("version", version)]), "1")]
        return family
    }

    private func spoolFamilies(_ health: ServiceHealth) -> [MetricFamily] {
        [
            MetricFamily(
                "clipbridge_spool_bytes", .gauge, "What the files in the spool take.",
                value: Double(health.spoolBytes)),
            MetricFamily(
                "clipbridge_spool_max_bytes", .gauge, "What the files in the spool may take.",
                value: Double(health.spoolBytesMax)),
        ]
    }

    /// Of a store that does not answer nothing but that.
    private func storeFamilies(_ facts: StoreFacts?) -> [MetricFamily] {
        [
            MetricFamily(
                "clipbridge_store_up", .gauge, "Whether the store is there, migrated and answers in time.",
                value: facts == nil ? 0 : 1),
            family(
                "clipbridge_clips", "Clips in each status, in the whole store.", of: ClipStatus.allCases,
                facts.map { facts in { Double(facts.clipCounts[$0] ?? 0) } }),
            family(
                "clipbridge_oldest_clip_age_seconds",
                "Since the clip with work that has been longest in its stage entered it, by its status.",
                of: ClipStatus.allCases.filter { !$0.isTerminal },
                facts.map { facts in { facts.longestInStage[$0]?.inSeconds ?? 0 } }),
            MetricFamily(
                "clipbridge_oldest_pending_signal_age_seconds", .gauge,
                "Since the oldest signal that is not decided yet was stored; 0 without any.",
                value: facts.map { $0.longestPending?.inSeconds ?? 0 }),
        ]
    }

    /// Each of the statuses, those without clips too; none at all without values.
    private func family(
        _ name: String, _ help: String, of statuses: [ClipStatus], _ value: ((ClipStatus) -> Double)?
    ) -> MetricFamily {
        var family = MetricFamily(name, .gauge, help)
        guard let value else { return family }
        family.samples = statuses.sorted { $0.rawValue < $1.rawValue }.map { status in
            MetricSample(LabelSet([("status", status.rawValue)]), MetricText.number(value(status)))
        }
        return family
    }
}
