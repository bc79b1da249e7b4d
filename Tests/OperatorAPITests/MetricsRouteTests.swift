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
        "process_start_time_seconds", "process_open_fds", "process_max_fds",
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

    @Test func failingStoreLeavesTheRest() async throws {
        let world = World(clipCounts: { throw StoreError(.unavailable, "away") })
        try await world.serve { client in
            let answer = try await client.get("/metrics")
            #expect(answer.status == 200)
            #expect(!answer.text.contains("clipbridge_clips{"))
            expectLines(["# TYPE clipbridge_clips gauge", "clipbridge_spool_bytes 42"], in: answer)
        }
    }

    @Test func silentStoreIsNotWaitedForLong() async throws {
        let gate = Gate()
        let world = World(clipCounts: {
            await gate.wait()
            return [:]
        })
        try await world.serve { client in
            async let page = client.get("/metrics")
            await world.clock.waitForSleepers(1)
            world.clock.advance(by: .seconds(5))
            let answer = try await page
            #expect(answer.status == 200)
            expectLines(["# TYPE clipbridge_clips gauge", "clipbridge_spool_bytes 42"], in: answer)
            #expect(!answer.text.contains("clipbridge_clips{"))
        }
        gate.open()
    }
}
