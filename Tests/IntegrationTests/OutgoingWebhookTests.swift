// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing
import WebhookReceiver

/// What receivers outside are told, and what they miss: nothing.
@Suite(
    .timeLimit(.minutes(10)),
    .enabled(if: WebhookReceiverProcess.python != nil, "CLIPBRIDGE_TEST_PYTHON names no Python"))
struct OutgoingWebhookTests {
    /// How long the receiver is away, in seconds; a minute by hand.
    private static let outage =
        ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_OUTAGE_SECONDS"].flatMap { Int($0) } ?? 5

    @Test func receiverThatWasAwayMissesNothing() async throws {
        try await World.run { world in
            var receiver = try await world.webhookReceiver()
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(
                sandbox,
                world.telling([
                    "CLIPBRIDGE_NOTIFY_URLS": receiver.url("status"),
                    "CLIPBRIDGE_FORWARD_URLS": receiver.url("forward"),
                ]))
            try await sandbox.subscribe(bridge)
            var uids: [String] = []
            func upload() async throws {
                for _ in 0..<3 {
                    let uid = try await sandbox.copy("sample:1MB")
                    try await bridge.register(uid)
                    uids.append(uid)
                }
            }

            try await upload()
            try await until("the first messages") { try receiver.requests().count >= 3 }
            try await receiver.program.killed()
            try await upload()
            try await letPass(.seconds(Self.outage))
            for uid in uids { try await bridge.clip(uid, reaches: .complete) }
            try await upload()
            receiver = try await world.webhookReceiver(port: receiver.port)
            for uid in uids { try await bridge.clip(uid, reaches: .complete) }

            try await until("an empty outbox", within: .seconds(60 + 3 * Self.outage)) {
                try await world.query("SELECT count(*) FROM clipbridge_outbox") == "0"
            }
            let requests = try receiver.requests()
            #expect(requests.compactMap(\.fault) == [])
            #expect(requests.allSatisfy { $0.contentType == "application/json" })
            for uid in uids { try await expectWholeStory(of: uid, in: requests, bridge) }
            try await expectEveryDelivery(in: requests.filter { $0.path == "/forward" }, bridge, sandbox)
            #expect(bridge.program.error.contains("receiver of outgoing webhooks fails"))
            #expect(bridge.program.error.contains("receiver of outgoing webhooks is back"))
            #expect(!bridge.program.error.contains("/status"))
        }
    }

    /// Every change of status in the ledger's order, and the same one again only under the same id.
    private func expectWholeStory(
        of uid: String, in requests: [WebhookReceiverProcess.Request], _ bridge: BridgeProcess
    ) async throws {
        let told = requests.filter { $0.path == "/status" && $0.uid == uid }
        let history = try #require(try await bridge.clip(uid)).history
        let changes = history.filter { $0["outcome"] == "applied" && $0["from"] != $0["to"] }
        var order: [Int64] = []
        for request in told {
            let seq = try #require(request.seq)
            if !order.contains(seq) { order.append(seq) }
        }
        #expect(order == changes.compactMap { $0["seq"]?.integerValue }, "clip \(uid)")
        #expect(Set(told.map(\.id)).count == order.count)
        for change in changes {
            let request = told.first { $0.seq == change["seq"]?.integerValue }
            #expect(request?.data?["status"] == change["to"])
            #expect(request?.data?["previous_status"] == change["from"])
        }
    }

    /// Byte for byte, with Cloudflare's own signature.
    private func expectEveryDelivery(
        in requests: [WebhookReceiverProcess.Request], _ bridge: BridgeProcess, _ sandbox: SandboxProcess
    ) async throws {
        var bodies: Set<[UInt8]> = []
        for id in try await bridge.deliveries() {
            let body = try await bridge.get("/api/deliveries/\(id)")["body"]?.stringValue
            bodies.insert(Array(try #require(body).utf8))
        }
        #expect(!bodies.isEmpty)
        #expect(Set(requests.map(\.body)) == bodies)
        #expect(Set(requests.map(\.id)).count == bodies.count)
        for request in requests {
            let header = try #require(request.signature)
            let time = header.firstMatch(of: /time=(\d+)/).flatMap { Int64($0.output.1) }
            let expected = WebhookVerifier.sign(
                secret: sandbox.secret, time: Timestamp(seconds: try #require(time)), body: request.body)
            #expect(header == expected)
        }
    }

    @Test func failedMessageIsSentAgainAsTheSame() async throws {
        try await World.run { world in
            let receiver = try await world.webhookReceiver()
            let bridge = try await world.serve(
                [],
                Unreachable.settings.merging(
                    world.telling(["CLIPBRIDGE_NOTIFY_URLS": receiver.url("moody"), "CLIPBRIDGE_PORT": "0"])
                ) { $1 })
            try await bridge.register("a")
            try await until("an empty outbox") {
                try await world.query("SELECT count(*) FROM clipbridge_outbox") == "0"
            }
            let requests = try receiver.requests().filter { $0.data?["status"] == "uploading" }
            #expect(requests.map(\.status) == [500, 500, 204])
            #expect(Set(requests.map(\.id)).count == 1)
            #expect(requests.compactMap(\.fault) == [])
            let page = try await bridge.get("/metrics").text
            #expect(page.contains(#"clipbridge_notifications_total{kind="status",outcome="retried"} 2"#), "\(page)")
        }
    }

    @Test func hangingReceiverDoesNotHoldTheEnd() async throws {
        try await World.run { world in
            let receiver = try await world.webhookReceiver()
            let settings = Unreachable.settings.merging(
                world.telling(["CLIPBRIDGE_NOTIFY_URLS": receiver.url("hang"), "CLIPBRIDGE_PORT": "0"])
            ) { $1 }
            let bridge = try await world.serve([], settings)
            try await bridge.register("a")
            try await until("the message") { try !receiver.requests().isEmpty }
            bridge.program.send(SIGTERM)
            #expect(try await bridge.program.exitCode(within: .seconds(20)) == 0)
            // Given back, and no attempt.
            let left = try await world.query("SELECT attempt, lease_owner FROM clipbridge_outbox ORDER BY id LIMIT 1")
            #expect(left == "0|")
        }
    }

    @Test func privateAddressIsNotReachedUnlessItsHostIsNamed() async throws {
        try await World.run { world in
            let requests = try await LoopbackServer.run { server in
                let settings = Unreachable.settings.merging([
                    "CLIPBRIDGE_NOTIFY_URLS": "https://127.0.0.1:\(server.port)/hook?token=hunter2",
                    "CLIPBRIDGE_NOTIFY_SECRET": WebhookReceiverProcess.secret, "CLIPBRIDGE_PORT": "0",
                ]) { $1 }
                let bridge = try await world.serve([], settings)
                try await bridge.register("a")
                try await until("a refusal") {
                    bridge.program.error.contains("receiver of outgoing webhooks fails")
                }
                #expect(bridge.program.error.contains("127.0.0.1"))
                #expect(!bridge.program.error.contains("hunter2"))
                return server.requests
            }
            #expect(requests == 0)
        }
    }

    @Test(arguments: [
        (["CLIPBRIDGE_NOTIFY_URLS": "https://example.com/hook"], "CLIPBRIDGE_NOTIFY_SECRET"),
        (["CLIPBRIDGE_FORWARD_URLS": "http://127.0.0.1/hunter2"], "CLIPBRIDGE_FORWARD_URLS"),
        (["CLIPBRIDGE_FORWARD_URLS": "https://me:hunter2@example.com/"], "CLIPBRIDGE_FORWARD_URLS"),
        (["CLIPBRIDGE_NOTIFY_SECRET": "hunter2"], "CLIPBRIDGE_NOTIFY_SECRET"),
        (["CLIPBRIDGE_NOTIFY_HOSTS": "a b"], "CLIPBRIDGE_NOTIFY_HOSTS"),
    ])
    func wrongSettingIsNamedAndItsSecretIsNot(settings: [String: String], name: String) async throws {
        try await World.run { world in
            let refused = try await world.run(["serve"], Unreachable.settings.merging(settings) { $1 })
            #expect(refused.status == 78 && refused.error.contains(name), "\(refused.error)")
            #expect(!refused.error.contains("hunter2"))
        }
    }
}
