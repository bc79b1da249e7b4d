// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials
import HTTPTypes
import NIOConcurrencyHelpers
import OutboundHTTP
import Testing

@testable import Sandbox

/// Answers every request with the next of its statuses, the last one again and again, and remembers the requests.
private final class RecordingTransport: HTTPTransport {
    struct Delivery: Sendable {
        var url: String
        var signature: String
        var body: [UInt8]
    }

    private let statuses: NIOLockedValueBox<[Int]>
    private let box = NIOLockedValueBox<[Delivery]>([])

    init(_ statuses: [Int] = [200]) { self.statuses = NIOLockedValueBox(statuses) }

    var deliveries: [Delivery] { box.withLockedValue { $0 } }

    func send(_ request: OutboundRequest) async throws(TransferError) -> OutboundResponse {
        var body: [UInt8] = []
        if case .bytes(let bytes) = request.body { body = bytes }
        let delivery = Delivery(
            url: request.url, signature: request.headers[.webhookSignature] ?? "", body: body)
        box.withLockedValue { $0.append(delivery) }
        let status = statuses.withLockedValue { $0.count > 1 ? $0.removeFirst() : $0.first ?? 200 }
        guard status > 0 else { throw TransferError(code: .connect, message: "refused") }
        return OutboundResponse(head: ResponseHead(status: status))
    }
}

@Suite struct WebhookTests {
    private static let url = "http://127.0.0.1:1/hook"

    private func object(_ delivery: RecordingTransport.Delivery) throws -> [String: JSONValue] {
        try #require(try JSONDecoder().decode(JSONValue.self, from: Data(delivery.body)).objectValue)
    }

    private func deliveries(_ transport: RecordingTransport, count: Int) async throws -> [RecordingTransport.Delivery] {
        try await until {
            transport.deliveries
        } holds: {
            $0.count >= count
        }
    }

    @Test func readyIsToldOnceAndSigned() async throws {
        let transport = RecordingTransport()
        try await TestSandbox.run(transport: transport) {
            $0.notifyURL = Self.url
        } _: { sandbox in
            let uid = try await sandbox.copy("sample:1000", ["meta": ["name": "n"]])
            let delivery = try #require(try await deliveries(transport, count: 1).first)
            #expect(delivery.url == Self.url)
            let time = try #require(Int64(delivery.signature.dropFirst(5).prefix { $0 != "," }))
            #expect(
                delivery.signature
                    == WebhookSender.signature(of: delivery.body, time: time, secret: sandbox.settings.webhookSecret))
            let object = try object(delivery)
            #expect(object["uid"] == .string(uid))
            #expect(object["readyToStream"] == true)
            #expect(object["status"]?.objectValue?["state"] == "ready")
            for name in ["creator", "uploadExpiry", "maxSizeBytes", "maxDurationSeconds", "watermark"] {
                #expect(object[name] == .some(.null), "\(name)")
            }
            #expect(object["readyToStreamAt"] == nil)
            #expect(
                Set(object.keys)
                    == [
                        "uid", "creator", "thumbnail", "thumbnailTimestampPct", "readyToStream", "status", "meta",
                        "created", "modified", "size", "preview", "allowedOrigins", "requireSignedURLs", "uploaded",
                        "uploadExpiry", "maxSizeBytes", "maxDurationSeconds", "duration", "input", "playback",
                        "watermark",
                    ])
            #expect(transport.deliveries.count == 1)
        }
    }

    @Test func anErrorIsToldInTheDocumentedSpelling() async throws {
        let transport = RecordingTransport()
        try await TestSandbox.run(transport: transport) {
            $0.notifyURL = Self.url
        } _: { sandbox in
            _ = try await sandbox.copy("sample:1000", ["meta": ["sandbox_error": "ERR_MALFORMED_VIDEO"]])
            let object = try object(try await deliveries(transport, count: 1)[0])
            #expect(object["readyToStream"] == false)
            let status = object["status"]?.objectValue
            #expect(status?["errReasonCode"] == "ERR_MALFORMED_VIDEO")
            #expect(status?["step"] == "encoding")
            #expect(status?["pctComplete"] == "39")
        }
    }

    @Test func aRefusedDeliveryIsSentFiveTimesWithGrowingPauses() async throws {
        let transport = RecordingTransport([500, 0, 302, 404])
        let clock = StandingClock()
        try await TestSandbox.run(clock: clock, transport: transport) { configuration in
            configuration.notifyURL = Self.url
            configuration.speed = 1
        } _: { sandbox in
            _ = try await sandbox.copy()
            _ = try await until {
                clock.sleeperCount
            } holds: {
                $0 == 1
            }
            clock.advance(by: .seconds(23))
            for (attempt, pause) in [1, 2, 4, 8].enumerated() {
                #expect(try await deliveries(transport, count: attempt + 1).count == attempt + 1)
                _ = try await until {
                    clock.sleeperCount
                } holds: {
                    $0 == 1
                }
                clock.advance(by: .milliseconds(pause * 1000 - 1))
                #expect(clock.sleeperCount == 1)
                clock.advance(by: .milliseconds(1))
            }
            let sent = try await deliveries(transport, count: 5)
            #expect(Set(sent.map(\.body)).count == 1)
            #expect(Set(sent.map(\.signature)).count == 5, "each attempt has its own time")
            #expect(clock.sleeperCount == 0)
        }
    }

    @Test func aTakenDeliveryIsNotRepeated() async throws {
        let transport = RecordingTransport([503, 200])
        try await TestSandbox.run(transport: transport) {
            $0.notifyURL = Self.url
        } _: { sandbox in
            let uid = try await sandbox.copy()
            _ = try await deliveries(transport, count: 2)
            try await sandbox.video(uid, reaches: "ready")
            #expect(transport.deliveries.count == 2)
        }
    }

    @Test func webhooksCanBeLostAndDoubled() async throws {
        let transport = RecordingTransport()
        try await TestSandbox.run(transport: transport) { configuration in
            configuration.notifyURL = Self.url
            configuration.faults = [
                FaultSpec(route: .webhook, kind: .drop, count: 1),
                FaultSpec(route: .webhook, kind: .duplicate, skip: 1),
            ]
        } _: { sandbox in
            let lost = try await sandbox.copy()
            try await sandbox.video(lost, reaches: "ready")
            let told = try await sandbox.copy()
            let sent = try await deliveries(transport, count: 2)
            for delivery in sent { #expect(try object(delivery)["uid"] == .string(told)) }
        }
    }

    @Test func nobodyIsToldWithoutASubscription() async throws {
        let transport = RecordingTransport()
        try await TestSandbox.run(transport: transport) { sandbox in
            let uid = try await sandbox.copy()
            try await sandbox.video(uid, reaches: "ready")
            let put = try await sandbox.api(.put, "/webhook", ["notificationUrl": .string(Self.url)])
            #expect(put["secret"] == .string(sandbox.settings.webhookSecret))
            _ = try await sandbox.copy()
            _ = try await deliveries(transport, count: 1)
            let other = try await sandbox.api(.put, "/webhook", ["notificationUrl": .string(Self.url + "/2")])
            #expect(other["secret"] != put["secret"])
        }
    }
}
