// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CurlTransport
import Foundation
import HTTPTypes
import OutboundHTTP
import Testing
import WebhookReceiver

/// `clipbridge serve` and an operator's way to talk to it.
struct BridgeProcess: Sendable {
    let program: RunningProgram
    let port: Int
    private let transport: CurlTransport

    init(program: RunningProgram, port: Int, transport: CurlTransport) {
        self.program = program
        self.port = port
        self.transport = transport
    }

    var url: String { "http://127.0.0.1:\(port)" }
    var webhookURL: String { url + WebhookReceiver.path }

    func get(_ path: String) async throws -> Answer { try await transport.call(.get, url + path) }

    func post(_ path: String, _ body: JSONValue) async throws -> Answer {
        try await transport.call(
            .post, url + path, body: try body.bytes, headers: [.contentType: "application/json"])
    }

    /// Sends a webhook as Cloudflare would.
    func deliver(
        _ body: [UInt8], secret: String, time: Timestamp = SystemWallClock().now(), headers: HTTPFields = [:]
    ) async throws -> Answer {
        var headers = headers
        headers[.webhookSignature] = WebhookVerifier.sign(secret: secret, time: time, body: body)
        return try await transport.call(.post, webhookURL, body: body, headers: headers)
    }

    func register(_ uid: String) async throws {
        let answer = try await post("/api/clips", ["uid": .string(uid)])
        try #require(answer.status == 201, "\(answer)")
    }

    // MARK: Clips

    struct Clip: Sendable {
        var status: String
        var details: Details
        var history: [JSONValue]

        func detail(_ key: DetailKey) -> String? { details[key]?.stringValue }
    }

    /// Nil for a clip that is not known.
    func clip(_ uid: String) async throws -> Clip? {
        let answer = try await get("/api/clips/\(uid)")
        guard answer.status == 200 else { return nil }
        return Clip(
            status: try #require(answer["status"]?.stringValue),
            details: try #require(answer["processing_details"]?.objectValue),
            history: try #require(answer["history"]).arrayValue)
    }

    /// The clip once it is in that status; one that stops with an error on its way there is not waited for.
    @discardableResult
    func clip(_ uid: String, reaches status: ClipStatus, within limit: Duration = .seconds(60)) async throws -> Clip {
        try await clip(uid, reachesOneOf: [status], within: limit)
    }

    @discardableResult
    func clip(
        _ uid: String, reachesOneOf statuses: Set<ClipStatus>, within limit: Duration = .seconds(60)
    ) async throws -> Clip {
        let words = Set(statuses.map(\.rawValue))
        return try await until("\(words.sorted()) of clip \(uid)", within: limit) {
            let clip = try await clip(uid)
            if let clip, words.contains(clip.status) { return clip }
            let why = clip?.detail(.errorMessage) ?? ""
            try #require(clip?.status != ClipStatus.error.rawValue, "the clip stopped: \(why)")
            return nil
        }
    }

    /// All ids of stored deliveries.
    func deliveries() async throws -> Set<String> {
        Set(try await pages("/api/deliveries?limit=500", of: "deliveries").compactMap { $0["id"]?.stringValue })
    }

    /// The uids of all clips in a status.
    func clips(in status: ClipStatus) async throws -> [String] {
        try await pages("/api/clips?limit=500&status=\(status.rawValue)", of: "clips")
            .compactMap { $0["uid"]?.stringValue }
    }

    private func pages(_ path: String, of member: String) async throws -> [JSONValue] {
        var found: [JSONValue] = []
        var cursor: String?
        repeat {
            let answer = try await get(path + (cursor.map { "&cursor=\($0)" } ?? ""))
            try #require(answer.status == 200)
            found += try #require(answer[member]).arrayValue
            cursor = answer["next_cursor"]?.stringValue
        } while cursor != nil
        return found
    }
}

extension World {
    /// A bridge that asks often and listens on any free port, or on the one that the settings name.
    func bridge(_ upstream: SandboxProcess, _ settings: [String: String] = [:]) async throws -> BridgeProcess {
        let quick = ["CLIPBRIDGE_PORT": "0", "CLIPBRIDGE_POLL_MIN": "100ms", "CLIPBRIDGE_POLL_MAX": "1s"]
        return try await serve(
            ["--config", upstream.settingsFile], quick.merging(settings) { _, given in given })
    }

    /// The same bridge anew, where its webhooks go.
    func restart(
        _ bridge: BridgeProcess, _ upstream: SandboxProcess, _ settings: [String: String] = [:]
    ) async throws -> BridgeProcess {
        try await self.bridge(
            upstream, settings.merging(["CLIPBRIDGE_PORT": "\(bridge.port)"]) { _, same in same })
    }

    func serve(_ arguments: [String], _ settings: [String: String]) async throws -> BridgeProcess {
        let program = try start(["serve"] + arguments, settings)
        let port = try await until("the bridge's port") { () -> Int? in
            try #require(program.isRunning, "the bridge ended: \(program.error)")
            let lines = program.error.split(separator: "\n").compactMap { try? JSONValue(parsing: $0) }
            let serving = lines.first { $0["message"] == "serving" }
            return serving?["port"]?.stringValue.flatMap(Int.init)
        }
        return BridgeProcess(program: program, port: port, transport: transport)
    }
}
