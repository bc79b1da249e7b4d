// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CurlTransport
import Foundation
import HTTPTypes
import Testing
import WebhookReceiver

/// What the receiver refuses, over a real socket.
@Suite(.timeLimit(.minutes(10))) struct RefusalTests {
    private static let secret = "85011ed3a913c6ad5f9cf6c5573cc0a7"

    /// A bridge whose upstreams are not there; nothing here needs them.
    private func withBridge(_ body: (World, BridgeProcess) async throws -> Void) async throws {
        try await World.run { world in
            let settings = Unreachable.settings.merging(
                ["CLIPBRIDGE_PORT": "0", "CLOUDFLARE_WEBHOOK_SECRET": Self.secret]) { _, own in own }
            try await body(world, try await world.serve([], settings))
        }
    }

    @Test func badSignaturesAreRefusedByName() async throws {
        try await withBridge { world, bridge in
            let body = Array(#"{"uid":"0a1b","status":{"state":"ready"}}"#.utf8)
            let good = WebhookVerifier.sign(secret: Self.secret, time: SystemWallClock().now(), body: body)
            let headers: [(String?, String)] = [
                (nil, "signature_missing"), ("nonsense", "signature_malformed"),
                (good + ",time=1", "signature_malformed"),
                (
                    WebhookVerifier.sign(secret: "other", time: SystemWallClock().now(), body: body),
                    "signature_mismatch"
                ),
            ]
            for (header, code) in headers {
                var fields: HTTPFields = [:]
                fields[.webhookSignature] = header
                let answer = try await world.transport.call(.post, bridge.webhookURL, body: body, headers: fields)
                #expect(answer.status == 401 && answer["error"]?.stringValue == code, "\(answer)")
                #expect(answer["message"]?.stringValue?.isEmpty == false)
            }
            for distance in [-400, 400] {
                let time = SystemWallClock().now() + .seconds(distance)
                let answer = try await bridge.deliver(body, secret: Self.secret, time: time)
                #expect(answer.status == 401 && answer["error"] == "signature_expired", "\(answer)")
            }
            #expect(try await bridge.deliveries().isEmpty)
            #expect(try await bridge.clip("0a1b") == nil)
        }
    }

    @Test func malformedBodiesAreRefusedAndStored() async throws {
        try await withBridge { world, bridge in
            let files: [(String, String)] = [
                ("not-json.txt", "body_malformed"), ("empty.json", "body_malformed"), ("array.json", "body_malformed"),
                ("truncated.json", "body_malformed"), ("invalid-utf8.json", "body_malformed"),
                ("utf16.json", "body_malformed"), ("deep-nesting.json", "body_malformed"),
                ("uid-missing.json", "uid_missing"), ("uid-null.json", "uid_missing"),
                ("uid-number.json", "uid_invalid"), ("uid-33-characters.json", "uid_invalid"),
                ("uid-slash.json", "uid_invalid"),
            ]
            let folder = Project.fixtures.appending(path: "malformed")
            #expect(Set(files.map(\.0)) == Set(try FileManager.default.contentsOfDirectory(atPath: folder.path())))
            for (file, code) in files {
                let body = Array(try Data(contentsOf: folder.appending(path: file)))
                let answer = try await bridge.deliver(body, secret: Self.secret)
                #expect(answer.status == 400 && answer["error"]?.stringValue == code, "\(file): \(answer)")
            }
            let stored = try await bridge.get("/api/deliveries?limit=500")["deliveries"]?.arrayValue ?? []
            #expect(stored.count == files.count && stored.allSatisfy { $0["outcome"] == "malformed" })
        }
    }

    @Test func bodiesBeyondTheLimitAndOtherMethodsAreRefused() async throws {
        try await withBridge { world, bridge in
            let prefix = Array(#"{"uid":"0a1b","status":{"state":"live-inprogress"},"x":""#.utf8)
            func body(_ count: Int) -> [UInt8] {
                prefix + [UInt8](repeating: 0x78, count: count - prefix.count - 2) + Array(#""}"#.utf8)
            }
            let largest = try await bridge.deliver(body(256 << 10), secret: Self.secret)
            #expect(largest.status == 200 && largest["outcome"] == "ignored", "\(largest)")
            let larger = try await bridge.deliver(body((256 << 10) + 1), secret: Self.secret)
            #expect(larger.status == 413, "\(larger)")
            for method in [HTTPRequest.Method.get, .put, .delete] {
                #expect(try await world.transport.call(method, bridge.webhookURL).status == 405)
            }
        }
    }

    /// A bridge of the version before would go on writing as it is used to.
    @Test func olderSchemaIsNotMigratedUnderABridge() async throws {
        try await World.run(on: .sqlite) { world in
            let bridge = try await world.bridge(try await world.sandbox())
            #expect(try await world.run(["store", "migrate"]).status == 0)
            _ = try await world.query("UPDATE clipbridge_meta SET value = 6 WHERE key = 'schema_version'")
            let refused = try await world.run(["store", "migrate"])
            #expect(refused.status == 69, "\(refused)")
            #expect(try await world.query("SELECT value FROM clipbridge_meta WHERE key = 'schema_version'") == "6")
            withExtendedLifetime(bridge) {}
        }
    }

    @Test func whyTheStoreIsNotReadyIsForOperatorsAlone() async throws {
        try await World.run(on: .sqlite) { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox, ["CLIPBRIDGE_ADMIN_TOKEN": "an operator's token"])
            _ = try await world.query("UPDATE clipbridge_meta SET value = 999 WHERE key = 'schema_version'")
            let stranger = try await bridge.get("/readyz")
            #expect(stranger.status == 503 && stranger["detail"] == "the store is not ready", "\(stranger)")
            let known = try await world.transport.call(
                .get, bridge.url + "/readyz", headers: [.authorization: "Bearer an operator's token"])
            #expect(known.status == 503 && known["detail"]?.stringValue?.contains("schema") == true, "\(known)")
        }
    }
}

/// Settings with which a bridge starts and reaches nobody: nothing listens at port 9 of loopback.
enum Unreachable {
    static let settings = [
        "CLOUDFLARE_ACCOUNT_ID": "account", "CLOUDFLARE_API_TOKEN": "token", "CLOUDFLARE_WEBHOOK_SECRET": "secret",
        "CLOUDFLARE_API_BASE": "http://127.0.0.1:9/client/v4", "R2_ACCESS_KEY_ID": "key",
        "R2_SECRET_ACCESS_KEY": "secret", "R2_BUCKET_NAME": "clips", "R2_ENDPOINT": "http://127.0.0.1:9",
    ]
}
