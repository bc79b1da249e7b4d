// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import CurlTransport
import Foundation
import HTTPTypes
import Logging
import NIOCore
import NIOPosix
import ObjectStorage
import OutboundHTTP
import SQLiteClipStore
import Sandbox
import WebhookReceiver

/// One run of the demo: a sandbox, a bridge, uploads, and the comparison at the end.
struct DemoRun: Sendable {
    let folder: String
    let clips: Int
    let speed: Double
    let timeout: Duration
    let seed: UInt64
    let showsBars: Bool
    let logger: Logger

    private static let clock = SystemWallClock()

    func result() async throws -> DemoResult {
        let transport = try CurlTransport(logger: logger)
        let bridgePort = try await Self.freePort()
        let sandbox = try Sandbox(
            configuration: SandboxConfiguration(
                dataDirectory: "\(folder)/sandbox", speed: speed,
                notifyURL: "http://127.0.0.1:\(bridgePort)\(WebhookReceiver.path)", seed: seed),
            transport: transport, logger: logger)
        return try await withThrowingTaskGroup(of: DemoResult?.self) { group in
            group.addTask {
                try await sandbox.run()
                return nil
            }
            let settings = try await sandbox.settings
            let ours = try bridgeSettings(settings, port: bridgePort)
            let store = try SQLiteClipStore(
                path: "\(folder)/clipbridge.sqlite", clipsTable: ours.clipsTable, uidColumn: ours.uidColumn)
            let bridge = try Bridge(settings: ours, store: store, logger: logger)
            group.addTask {
                try await bridge.run(shutdownSignals: [])
                return nil
            }
            group.addTask { try await drive(bridge: bridge, sandbox: sandbox, settings: settings, transport) }
            defer { group.cancelAll() }
            while let finished = try await group.next() {
                if let result = finished { return result }
            }
            throw CommandFailure(.failed, "the demo's servers ended before it did")
        }
    }

    /// The system's next free port: the sandbox has to know where to send webhooks before the bridge listens.
    private static func freePort() async throws -> Int {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = channel.localAddress?.port ?? 0
        try await channel.close()
        return port
    }

    private func bridgeSettings(_ sandbox: SandboxSettings, port: Int) throws -> Settings {
        var environment = Dictionary(uniqueKeysWithValues: sandbox.lines.map { ($0.name, $0.value) })
        environment[SettingName.port.rawValue] = String(port)
        environment[SettingName.databaseURL.rawValue] = "sqlite:\(folder)/clipbridge.sqlite"
        environment[SettingName.spoolDirectory.rawValue] = "\(folder)/spool"
        // The sandbox's videos are as much faster as its clock.
        environment[SettingName.pollMin.rawValue] = "\(min(max(20, Int(2_000 / speed)), 60_000))ms"
        return try Settings(RawSettings(flags: [:], environment: environment, configFile: nil))
    }

    // MARK: The road

    private func drive(
        bridge: Bridge<SQLiteClipStore>, sandbox: Sandbox, settings: SandboxSettings, _ transport: CurlTransport
    ) async throws -> DemoResult {
        let start = Self.clock.now()
        try await waitUntilReady(port: bridge.settings.port, transport)
        let uids = try await upload(settings, bridgePort: bridge.settings.port, transport)
        let display = showsBars ? DemoDisplay(uids: uids) : nil
        let records = try await follow(uids, bridge: bridge, until: start + timeout, display)
        let storage = S3Client(
            configuration: try Credentials(bridge.settings).storage, transport: transport)
        var rows: [DemoResult.Row] = []
        for uid in uids {
            rows.append(try await row(uid, records[uid], bridge: bridge, sandbox: sandbox, storage))
        }
        return DemoResult(rows: rows, seconds: (Self.clock.now() - start).inSeconds)
    }

    private func waitUntilReady(port: Int, _ transport: CurlTransport) async throws {
        for _ in 0..<200 {
            let request = OutboundRequest(url: "http://127.0.0.1:\(port)/readyz")
            if let response = try? await transport.send(request), response.isSuccess { return }
            try await Self.clock.sleep(for: .milliseconds(50))
        }
        throw CommandFailure(.unavailable, "the demo's bridge did not become ready")
    }

    /// Uploads as an application would, by URL. Every third clip is not registered: the bridge learns of it from the
    /// webhook alone.
    private func upload(
        _ settings: SandboxSettings, bridgePort: Int, _ transport: CurlTransport
    ) async throws -> [ClipUID] {
        var random = SplitMix64(state: seed)
        var uids: [ClipUID] = []
        for number in 1...clips {
            let bytes = Int.random(in: 1_000_000...24_000_000, using: &random)
            let uid = try await copy(
                "sample:\(bytes)", name: "Demo clip \(number)", settings, transport)
            uids.append(uid)
            if number % 3 != 0 { try await register(uid, bridgePort: bridgePort, transport) }
        }
        return uids
    }

    private func copy(
        _ url: String, name: String, _ settings: SandboxSettings, _ transport: CurlTransport
    ) async throws -> ClipUID {
        var request = OutboundRequest(
            method: .post, url: "\(settings.apiBase)/accounts/\(settings.accountID)/stream/copy",
            body: .bytes(Array(JSONText.line(["url": .string(url), "meta": ["name": .string(name)]]).utf8)))
        request.headers[.authorization] = "Bearer \(settings.apiToken)"
        request.headers[.contentType] = "application/json"
        let response = try await transport.send(request)
        let answer = JSONValue(json: response.body)
        guard let text = answer?.objectValue?["result"]?.objectValue?["uid"]?.stringValue, let uid = ClipUID(text)
        else {
            throw CommandFailure(.failed, "the sandbox answered an upload with \(response.status) and no uid")
        }
        return uid
    }

    private func register(_ uid: ClipUID, bridgePort: Int, _ transport: CurlTransport) async throws {
        let request = OutboundRequest(
            method: .post, url: "http://127.0.0.1:\(bridgePort)/api/clips",
            body: .bytes(Array(JSONText.line(["uid": .string(uid.rawValue)]).utf8)))
        let response = try await transport.send(request)
        guard response.isSuccess else {
            throw CommandFailure(.failed, "the bridge answered a registration with \(response.status)")
        }
    }

    private func follow(
        _ uids: [ClipUID], bridge: Bridge<SQLiteClipStore>, until end: Timestamp, _ display: DemoDisplay?
    ) async throws -> [ClipUID: ClipRecord] {
        while true {
            let records = try await bridge.store.read { transaction in
                try uids.reduce(into: [ClipUID: ClipRecord]()) { $0[$1] = try transaction.clip($1) }
            }
            display?.show(records)
            let isOver = uids.allSatisfy { records[$0]?.status?.isTerminal == true }
            if isOver || Self.clock.now() >= end {
                display?.finish()
                return records
            }
            try await Self.clock.sleep(for: .milliseconds(200))
        }
    }

    // MARK: The comparison

    private func row(
        _ uid: ClipUID, _ record: ClipRecord?, bridge: Bridge<SQLiteClipStore>, sandbox: Sandbox, _ storage: S3Client
    ) async throws -> DemoResult.Row {
        let history = try await bridge.store.read { try $0.history(of: uid) }
        var row = DemoResult.Row(uid: uid, status: record?.statusWord ?? "unknown", bytes: 0, failure: nil, stages: [:])
        row.stages = Self.stages(history)
        guard record?.status == .complete, let key = record?.details[.r2Key]?.stringValue else {
            row.failure = record?.details[.errorMessage]?.stringValue ?? "it did not become complete in time"
            return row
        }
        let copy = "\(folder)/object"
        do {
            _ = try await storage.getObject(
                key, sink: .file(FileSink(path: copy, place: { $0.status == 200 ? .write(offset: 0) : .collect })))
            let object = try await FileDigest.ofFile(copy)
            let source = try await FileDigest.ofFile(sandbox.sourceFile(of: uid.rawValue))
            row.bytes = object.length
            if object.sha256 != source.sha256 { row.failure = "the object's bytes differ from the source's" }
        } catch let error as ObjectStorageError {
            row.failure = error.message
        }
        return row
    }

    /// How long the clip was in each status, in seconds.
    private static func stages(_ history: [LedgerEntry]) -> [ClipStatus: Double] {
        let moves = history.filter { $0.outcome == .applied }
        return zip(moves, moves.dropFirst()).reduce(into: [:]) { stages, pair in
            if let status = pair.0.to { stages[status, default: 0] += (pair.1.at - pair.0.at).inSeconds }
        }
    }
}
