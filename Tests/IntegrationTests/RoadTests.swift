// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CurlTransport
import Foundation
import ObjectStorage
import Testing

/// From an upload to an object, by each of the ways in which a bridge may learn of a clip.
@Suite(.timeLimit(.minutes(10))) struct RoadTests {
    @Test func webhooksAloneLeadClipsToTheirObjects() async throws {
        try await World.run { world in
            let port = try await world.freePort()
            let sandbox = try await world.sandbox(["--notify", "http://127.0.0.1:\(port)"])
            let bridge = try await world.bridge(sandbox, ["CLIPBRIDGE_PORT": "\(port)"])
            let plain = try await sandbox.copy("sample:5MB")
            let large = try await sandbox.copy("sample:40MB")
            let hidden = try await sandbox.copy("sample:1MB", ["requireSignedURLs": true])
            for uid in [plain, large, hidden] {
                let clip = try await bridge.clip(uid, reaches: .complete)
                #expect(clip.history.first?["source"] == "webhook")
                expectOnlyForward(clip.history)
                try await expectObject(of: clip, uid, world, sandbox)
            }
            // Three parts of at most 16 MiB.
            #expect(try await bridge.clip(large)?.detail(.r2ETag)?.hasSuffix("-3") == true)
            let rows = try await world.query(
                "SELECT status, json_extract(processing_details, '$.r2_upload_complete') FROM clips",
                postgres:
                    "SELECT status, (processing_details ->> 'r2_upload_complete' = 'true')::int FROM clips")
            #expect(rows.split(separator: "\n") == ["complete|1", "complete|1", "complete|1"])
            // A private clip's token is stored nowhere.
            let details = try await world.query(
                "SELECT processing_details FROM clips WHERE cloudflare_uid = '\(hidden)'")
            #expect(!details.contains("eyJ"))
        }
    }

    @Test func metricsTellOfTheRoad() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox)
            let uid = try await sandbox.copy("sample:1MB")
            try await bridge.register(uid)
            try await bridge.clip(uid, reaches: .complete)
            let lines = [
                #"clipbridge_actions_total{action="transfer",outcome="done"} 1"#,
                #"clipbridge_clips{status="complete"} 1"#, #"clipbridge_clips{status="uploading"} 0"#,
                #"clipbridge_webhooks_total{outcome="accepted"} 0"#,
                #"clipbridge_signals_total{outcome="applied",status="complete"} 1"#,
                #"clipbridge_action_seconds_count{action="transfer"} 1"#,
            ]
            // The transfer is counted once it has ended, which is after its last report.
            try await until(
                "the road in the metrics",
                holds: {
                    let page = try await bridge.get("/metrics").text
                    return lines.allSatisfy { page.contains("\n\($0)\n") }
                })
            #expect(try await bridge.get("/metrics").text.contains(uid) == false)
        }
    }

    @Test func clipCompletesThoughEveryWebhookIsLost() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox)
            let uid = try await sandbox.copy("sample:3MB")
            let registered = try await world.run(["clips", "register", uid, "--server", bridge.url])
            #expect(registered.status == 0, "\(registered.error)")
            let clip = try await bridge.clip(uid, reaches: .complete)
            #expect(clip.movers == ["operator", "poll", "pipeline"])
            expectOnlyForward(clip.history)
            try await expectObject(of: clip, uid, world, sandbox)
        }
    }

    @Test func rowOfAnotherProgramIsPickedUp() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox, ["CLIPBRIDGE_AUTO_MP4": "false"])
            let uid = try await sandbox.copy("sample:1MB")
            _ = try await world.query("INSERT INTO clips (cloudflare_uid, status) VALUES ('\(uid)', 'uploading')")
            try await bridge.clip(uid, reaches: .streamReady)
            // And asks for what comes next in the way that any program may.
            let asked = try await bridge.post("/api/cloudflare/enable-mp4", ["videoUid": .string(uid)])
            #expect(asked.status == 202)
            try await bridge.clip(uid, reaches: .complete)
            _ = try await world.query(
                """
                UPDATE clips SET processing_details = json_set(processing_details, '$.requested_status', 'error')
                WHERE cloudflare_uid = '\(uid)'
                """,
                postgres: """
                    UPDATE clips SET processing_details = processing_details || '{"requested_status": "error"}'
                    WHERE cloudflare_uid = '\(uid)'
                    """)
            let clip = try await bridge.clip(uid, reaches: .error)
            #expect(clip.movers.contains("external") && clip.details["requested_status"] == nil)
        }
    }

    @Test func objectsReachAnotherS3Server() async throws {
        let storage = try RealStorage()
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox, storage.settings)
            let uids = try await [sandbox.copy("sample:5MB"), sandbox.copy("sample:100MB")]
            for uid in uids { try await bridge.register(uid) }
            for uid in uids {
                let clip = try await bridge.clip(uid, reaches: .complete, within: .seconds(120))
                let key = try #require(clip.detail(.r2Key))
                #expect(try await storage.digest(of: key, in: world) == sandbox.source(of: uid))
                #expect(try await sandbox.downloads(of: uid).full == 1)
                try await storage.client().deleteObject(key)
            }
        }
    }

    /// The object has the source's bytes, is where the clip says, and was paid for once.
    private func expectObject(
        of clip: BridgeProcess.Clip, _ uid: String, _ world: World, _ sandbox: SandboxProcess
    ) async throws {
        let source = try await sandbox.source(of: uid)
        let url = try #require(clip.detail(.r2PublicURL))
        #expect(url == "\(try sandbox.setting("R2_PUBLIC_URL"))/videos/\(uid).mp4")
        #expect(try await world.download(url) == source)
        #expect(clip.details[.r2Size]?.integerValue == Int64(source.length))
        let downloads = try await sandbox.downloads(of: uid)
        #expect(downloads == .init(full: 1, ranges: 0, bytes: Int64(source.length)))
    }
}
