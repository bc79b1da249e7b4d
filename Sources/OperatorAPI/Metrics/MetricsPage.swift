// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import HTTPTypes
import Hummingbird
import NIOConcurrencyHelpers
import NIOCore

/// What `GET /metrics` shows: what was counted, and what is read at the moment it is asked for.
package struct MetricsPage: Sendable {
    /// Shorter than Prometheus waits for a page.
    private static let storeTimeLimit = Duration.seconds(5)
    /// How many pages may wait for the store; one that comes on top goes without it.
    private static let readingsMax = 4

    private let registry: PrometheusRegistry
    let version: String
    private let clipCounts: @Sendable () async throws -> [ClipStatus: Int]
    private let spoolBytes: @Sendable () -> UInt64
    private let clock: any WallClock
    private let readings = NIOLockedValueBox(0)

    /// - Parameters:
    ///   - version: the program's.
    ///   - clipCounts: asks the store; statuses without clips may be missing.
    ///   - spoolBytes: what the spool's files take.
    package init(
        registry: PrometheusRegistry, version: String,
        clipCounts: @escaping @Sendable () async throws -> [ClipStatus: Int],
        spoolBytes: @escaping @Sendable () -> UInt64, clock: any WallClock = SystemWallClock()
    ) {
        self.registry = registry
        self.version = version
        self.clipCounts = clipCounts
        self.spoolBytes = spoolBytes
        self.clock = clock
    }

    func response() async -> Response {
        let readings = [await clips(), buildInfo, spool] + ProcessMetrics.read()
        return Response(
            status: .ok,
            headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: registry.text(with: readings))))
    }

    private var buildInfo: MetricFamily {
        var family = MetricFamily("clipbridge_build_info", .gauge, "Always 1; the label tells the program's version.")
        family.samples = [MetricSample(LabelSet([("version", version)]), "1")]
        return family
    }

    private var spool: MetricFamily {
        MetricFamily(
            "clipbridge_spool_bytes", .gauge, "What the files in the spool take.", value: Double(spoolBytes()))
    }

    /// Every status, those without clips too; none at all while the store does not answer.
    private func clips() async -> MetricFamily {
        var family = MetricFamily("clipbridge_clips", .gauge, "Clips in each status, in the whole store.")
        guard let counts = await countsInTime() else { return family }
        family.samples = ClipStatus.allCases.sorted { $0.rawValue < $1.rawValue }.map { status in
            MetricSample(LabelSet([("status", status.rawValue)]), String(counts[status] ?? 0))
        }
        return family
    }

    /// Nil when the store fails, or does not answer in time.
    private func countsInTime() async -> [ClipStatus: Int]? {
        guard enter() else { return nil }
        let (answers, answer) = AsyncStream<[ClipStatus: Int]>.makeStream()
        // Unstructured on purpose: a store that does not heed cancellation must not keep the page from its reader.
        let reading = Task {
            if let counts = try? await clipCounts() { answer.yield(counts) }
            leave()
            answer.finish()
        }
        let timer = Task {
            try await clock.sleep(for: Self.storeTimeLimit)
            answer.finish()
            reading.cancel()
        }
        var counts: [ClipStatus: Int]?
        for await found in answers { counts = found }
        timer.cancel()
        return counts
    }

    private func enter() -> Bool {
        readings.withLockedValue { readings in
            guard readings < Self.readingsMax else { return false }
            readings += 1
            return true
        }
    }

    /// Only when the store is done with it, however long ago the page was given out.
    private func leave() {
        readings.withLockedValue { $0 -= 1 }
    }
}
