// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
package import ClipStore
import NIOConcurrencyHelpers

/// What the store says of the service as a whole; none of it costs more the more clips are complete, but the counts.
package struct StoreFacts: Sendable, Equatable {
    /// Statuses without clips may be missing.
    package var clipCounts: [ClipStatus: Int]
    /// How long the clip that has been longest in its stage has been there, by its status; of clips with work alone.
    package var longestInStage: [ClipStatus: Duration]
    /// How long the oldest signal that nobody has decided yet has waited.
    package var longestPending: Duration?

    package init(
        clipCounts: [ClipStatus: Int] = [:], longestInStage: [ClipStatus: Duration] = [:],
        longestPending: Duration? = nil
    ) {
        self.clipCounts = clipCounts
        self.longestInStage = longestInStage
        self.longestPending = longestPending
    }

    /// Throws where `/readyz` would say that the store is not ready.
    package init(of store: some ClipStore, clock: any WallClock = SystemWallClock()) async throws {
        try await store.checkReady()
        self = try await store.read { transaction in
            let now = transaction.now ?? clock.now()
            return StoreFacts(
                clipCounts: try transaction.clipCounts(),
                longestInStage: try transaction.longestInStage().mapValues { max(now - $0, .zero) },
                longestPending: try transaction.oldestUndecided().map { max(now - $0, .zero) })
        }
    }
}

/// How the service does, at the moment it is asked.
package struct ServiceHealth: Sendable {
    /// Nil while the store does not answer, or not in time.
    package var store: StoreFacts?
    package var spoolBytes: UInt64
    package var spoolBytesMax: UInt64
    /// Of this process alone, as what follows: requests to the webhook's path so far.
    package var webhooks: Double
    /// When a webhook was last stored, in seconds since 1970; nil before the first one.
    package var lastWebhookSeconds: Double?
    /// Calls of Cloudflare's API that could be made at once, when it was last asked.
    package var cloudflareBudget: Double?
    /// Bytes moved so far, from the MP4 host and to R2.
    package var transferBytes: Double
}

/// Asks the store, the spool and what was counted how the service does.
package struct HealthReader: Sendable {
    /// Shorter than Prometheus waits for a page.
    private static let storeTimeLimit = Duration.seconds(5)
    /// How many may wait for the store; who comes on top goes without it.
    private static let readingsMax = 4

    /// The spool's files, and what they may take.
    package struct SpoolRoom: Sendable {
        let bytesMax: UInt64
        let bytesUsed: @Sendable () -> UInt64

        package init(bytesMax: UInt64, bytesUsed: @escaping @Sendable () -> UInt64) {
            self.bytesMax = bytesMax
            self.bytesUsed = bytesUsed
        }
    }

    let registry: PrometheusRegistry
    private let storeFacts: @Sendable () async throws -> StoreFacts
    private let spool: SpoolRoom
    private let clock: any WallClock
    private let readings = NIOLockedValueBox(0)

    package init(
        registry: PrometheusRegistry, storeFacts: @escaping @Sendable () async throws -> StoreFacts,
        spool: SpoolRoom, clock: any WallClock = SystemWallClock()
    ) {
        self.registry = registry
        self.storeFacts = storeFacts
        self.spool = spool
        self.clock = clock
    }

    /// Never fails, and takes no longer than the store's time limit.
    package func read() async -> ServiceHealth {
        ServiceHealth(
            store: await factsInTime(), spoolBytes: spool.bytesUsed(), spoolBytesMax: spool.bytesMax,
            webhooks: registry.total(of: "clipbridge_webhooks_total") ?? 0,
            lastWebhookSeconds: registry.total(of: "clipbridge_last_webhook_timestamp_seconds"),
            cloudflareBudget: registry.total(of: "clipbridge_cloudflare_budget_remaining"),
            transferBytes: registry.total(of: "clipbridge_transfer_bytes_total") ?? 0)
    }

    /// Nil when the store fails, or does not answer in time.
    private func factsInTime() async -> StoreFacts? {
        guard enter() else { return nil }
        let (answers, answer) = AsyncStream<StoreFacts>.makeStream()
        // Unstructured on purpose: a store that does not heed cancellation must not keep its reader.
        let reading = Task {
            if let facts = try? await storeFacts() { answer.yield(facts) }
            leave()
            answer.finish()
        }
        let timer = Task {
            try await clock.sleep(for: Self.storeTimeLimit)
            answer.finish()
            reading.cancel()
        }
        var facts: StoreFacts?
        for await found in answers { facts = found }
        timer.cancel()
        return facts
    }

    private func enter() -> Bool {
        readings.withLockedValue { readings in
            guard readings < Self.readingsMax else { return false }
            readings += 1
            return true
        }
    }

    /// Only when the store is done with it, however long ago its reader went.
    private func leave() {
        readings.withLockedValue { $0 -= 1 }
    }
}
