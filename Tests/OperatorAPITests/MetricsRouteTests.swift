// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import HTTPTypes
import Metrics
import OperatorAPI
import Testing

@Suite(.timeLimit(.minutes(1))) struct MetricsRouteTests {
    private static let names = [
        "clipbridge_webhooks_total", "clipbridge_webhook_commit_seconds", "clipbridge_signals_total",
        "clipbridge_signal_lag_seconds", "clipbridge_clips", "clipbridge_actions_total", "clipbridge_action_seconds",
        "clipbridge_transfer_bytes_total", "clipbridge_cloudflare_requests_total",
        "clipbridge_cloudflare_budget_remaining", "clipbridge_spool_bytes", "clipbridge_redownloaded_bytes_total",
        "clipbridge_build_info", "process_cpu_seconds_total", "process_resident_memory_bytes",
        "clipbridge_spool_max_bytes", "clipbridge_store_up", "clipbridge_oldest_clip_age_seconds",
        "clipbridge_oldest_pending_signal_age_seconds", "clipbridge_last_webhook_timestamp_seconds",
        "clipbridge_webhook_subscribed", "clipbridge_foreign_rows", "process_start_time_seconds", "process_open_fds",
        "process_max_fds",
    ]

    private static let withoutStore = [
        "# TYPE clipbridge_clips gauge", "clipbridge_spool_bytes 42", "clipbridge_spool_max_bytes 99",
        "clipbridge_store_up 0",
    ]

    private func expectLines(_ lines: [String], in answer: Client.Answer) {
        let page = answer.text.split(separator: "\n").map { String($0) }
        #expect(lines.filter { !page.contains($0) } == [])
    }

    @Test func pageNeedsNoToken() async throws {
        let world = World()
        Counter(label: "clipbridge_webhooks_total", dimensions: [("outcome", "accepted")], factory: world.registry)
            .increment()
        try await world.register(uid(1), .queued)
        try await world.register(uid(2), .queued)
        try await world.serve { client in
            let headers: HTTPFields = [.authorization: "", .testAuthority: "bridge.example.com"]
            let answer = try await client.get("/metrics", headers: headers)
            #expect(answer.status == 200)
            #expect(answer.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
            let clips = ClipStatus.allCases.map { status in
                "clipbridge_clips{status=\"\(status.rawValue)\"} \(status == .queued ? 2 : 0)"
            }
            expectLines(
                clips + [
                    "clipbridge_webhooks_total{outcome=\"accepted\"} 1", "clipbridge_spool_bytes 42",
                    "clipbridge_build_info{version=\"1.2.3\"} 1",
                ], in: answer)
            #expect(!answer.text.contains(uid(1).rawValue))
        }
    }

    @Test func everyMetricIsNamedBeforeItsFirstEvent() async throws {
        try await World().serve { client in
            let page = try await client.get("/metrics").text
            for name in Self.names {
                #expect(page.contains("# HELP \(name) "), "\(name)")
                #expect(page.contains("# TYPE \(name) "), "\(name)")
            }
        }
    }

    @Test func processTellsOfItself() async throws {
        try await World().serve { client in
            let lines = try await client.get("/metrics").text.split(separator: "\n")
            for name in Self.names where name.hasPrefix("process_") {
                let line = lines.first { $0.hasPrefix("\(name) ") }
                let value = line.flatMap { Double($0.dropFirst(name.count + 1)) }
                #expect(value.map { $0 > 0 } == true, "\(name)")
            }
        }
    }

    @Test func ageOfAClipCountsFromItsStage() async throws {
        let world = World()
        try await world.register(uid(1), .queued)
        world.clock.advance(by: .seconds(60))
        try await world.register(uid(2), .queued)
        try await world.register(uid(3), .complete)
        try await world.register(uid(1), .processing)
        world.clock.advance(by: .milliseconds(1_500))
        try await world.serve { client in
            // Queued and processing are one stage, and what is complete waits for nothing.
            let answer = try await client.get("/metrics")
            expectLines(
                [
                    #"clipbridge_oldest_clip_age_seconds{status="processing"} 61.5"#,
                    #"clipbridge_oldest_clip_age_seconds{status="queued"} 1.5"#,
                    #"clipbridge_oldest_clip_age_seconds{status="uploading"} 0"#,
                    "clipbridge_oldest_pending_signal_age_seconds 0", "clipbridge_store_up 1",
                ], in: answer)
            #expect(!answer.text.contains(#"age_seconds{status="complete"}"#))
        }
    }

    @Test func signalThatNobodyDecidesGrowsOld() async throws {
        let world = World()
        _ = try await world.deliver(uid(1), .queued)
        world.clock.advance(by: .seconds(7))
        _ = try await world.deliver(uid(2), .queued)
        try await world.serve { client in
            let answer = try await client.get("/metrics")
            expectLines(["clipbridge_oldest_pending_signal_age_seconds 7"], in: answer)
        }
    }

    @Test func healthTellsWhatWasCountedOnceThereIsSomething() async throws {
        let world = World()
        let before = await world.health.read()
        #expect(before.store == StoreFacts())
        #expect(before.lastWebhookSeconds == nil)
        #expect(before.cloudflareBudget == nil)
        for outcome in ["accepted", "ignored"] {
            Counter(label: "clipbridge_webhooks_total", dimensions: [("outcome", outcome)], factory: world.registry)
                .increment(by: 2)
        }
        Gauge(label: "clipbridge_last_webhook_timestamp_seconds", factory: world.registry).record(1_800_000_000)
        Gauge(label: "clipbridge_cloudflare_budget_remaining", factory: world.registry).record(150)
        let after = await world.health.read()
        #expect(after.webhooks == 4)
        #expect(after.lastWebhookSeconds == 1_800_000_000)
        #expect(after.cloudflareBudget == 150)
        #expect((after.spoolBytes, after.spoolBytesMax) == (42, 99))
    }

    @Test func failingStoreLeavesTheRest() async throws {
        let world = World(storeFacts: { throw StoreError(.unavailable, "away") })
        try await world.serve { client in
            let answer = try await client.get("/metrics")
            #expect(answer.status == 200)
            #expect(!answer.text.contains("clipbridge_clips{") && !answer.text.contains("age_seconds{"))
            expectLines(Self.withoutStore, in: answer)
        }
    }

    @Test func silentStoreIsNotWaitedForLong() async throws {
        let gate = Gate()
        let world = World(storeFacts: {
            await gate.wait()
            return StoreFacts()
        })
        try await world.serve { client in
            async let page = client.get("/metrics")
            await world.clock.waitForSleepers(1)
            world.clock.advance(by: .seconds(5))
            let answer = try await page
            #expect(answer.status == 200)
            expectLines(Self.withoutStore, in: answer)
            #expect(!answer.text.contains("clipbridge_clips{") && !answer.text.contains("age_seconds{"))
        }
        gate.open()
    }
}
