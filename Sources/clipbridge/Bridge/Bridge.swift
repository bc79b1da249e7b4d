// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import CloudflareStream
import CurlTransport
import Foundation
import Hummingbird
import Logging
import Monitor
import NIOCore
import NIOPosix
import ObjectStorage
import OperatorAPI
import Pipeline
import SQLiteClipStore
import ServiceLifecycle
import UnixSignals
import WebhookReceiver

/// Receiver, monitor, pipeline and API in one process: the one place where they meet.
struct Bridge: Sendable {
    let settings: Settings
    let logger: Logger
    let store: SQLiteClipStore
    private let transport: CurlTransport
    private let spool: Spool
    private let monitor: Monitor<SQLiteClipStore>
    private let pipeline: Pipeline
    private let responder: RouterResponder<BasicRequestContext>

    /// Checks the settings and opens the store; nothing is started.
    init(settings: Settings, logger: Logger) throws {
        self.settings = settings
        self.logger = logger
        let credentials = try Credentials(settings)
        try settings.checkExposure()
        store = try SQLiteClipStore(
            path: settings.databasePath, clipsTable: settings.clipsTable, uidColumn: settings.uidColumn)
        transport = try CurlTransport(configuration: settings.transportConfiguration, logger: logger)
        spool = Spool(folder: settings.spoolDirectory, bytesMax: settings.spoolBytesMax)
        let stream = StreamClient(
            transport: transport, baseURL: settings.cloudflareAPIBase, accountID: credentials.accountID,
            token: credentials.apiToken, budget: RateBudget(), logger: logger)
        let pipeline = Pipeline(
            stream: stream, storage: S3Client(configuration: credentials.storage, transport: transport),
            transport: transport, spool: spool,
            settings: TransferSettings(
                downloadHosts: settings.downloadHosts, objectKey: settings.r2Key, publicURL: settings.r2PublicURL,
                partBytes: settings.partSize, partsMax: settings.partConcurrency),
            logger: logger)
        self.pipeline = pipeline
        let monitor = Monitor(
            store: store, performer: pipeline,
            configuration: MonitorConfiguration(
                policy: settings.policy, owner: Self.owner, transfersMax: settings.transfersMax,
                retention: settings.retention),
            logger: logger)
        self.monitor = monitor
        responder = Self.router(settings, credentials, store: store, monitor: monitor, pipeline: pipeline, logger)
            .buildResponder()
    }

    /// Names this process in leases: a host may run several, one after the other, under one process id.
    private static let owner = [
        ProcessInfo.processInfo.hostName, String(ProcessInfo.processInfo.processIdentifier),
        String(UInt32.random(in: 0...(.max))),
    ].joined(separator: ":")

    private static func router(
        _ settings: Settings, _ credentials: Credentials, store: SQLiteClipStore, monitor: Monitor<SQLiteClipStore>,
        pipeline: Pipeline, _ logger: Logger
    ) -> Router<BasicRequestContext> {
        let router = Router(context: BasicRequestContext.self)
        WebhookReceiver(
            configuration: .init(secrets: credentials.webhookSecrets, tolerance: settings.webhookTolerance),
            ledger: store, logger: logger, onStored: { monitor.wake() }
        ).addRoutes(to: router)
        let actions = OperatorActions(
            submit: { try await monitor.submit($0) },
            register: { try await monitor.register($0) },
            wake: { monitor.wake() },
            checkVideo: { uid in await pipeline.checkVideo(uid) },
            interpret: { body in
                switch DeliveryInterpreter.interpret(body) {
                case .accepted(let signal): (.accepted, signal)
                case .ignored: (.ignored, nil)
                case .malformed: (.malformed, nil)
                }
            })
        OperatorAPI(store: store, actions: actions, policy: settings.policy, adminToken: settings.adminToken)
            .addRoutes(to: router)
        return router
    }

    /// Serves until one of the signals, or until the task is cancelled.
    /// - Parameter onServing: runs once with the port, when requests are taken.
    func run(
        shutdownSignals: [UnixSignal], onServing: @escaping @Sendable (Int) async -> Void = { _ in }
    ) async throws {
        try await prepare()
        let server = BridgeServer()
        let application = Application(
            responder: responder,
            server: server.builder,
            configuration: server.configuration(
                address: .hostname(settings.host, port: settings.port), logger: logger),
            onServerRunning: { channel in await onServing(channel.localAddress?.port ?? settings.port) },
            logger: logger.at(least: .notice))
        // Stopped in reverse: first nothing more is accepted, then what runs is brought to its end.
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: UploadSweep(store: store, pipeline: pipeline, logger: logger)),
                    .init(service: monitor), .init(service: application),
                ],
                gracefulShutdownSignals: shutdownSignals, logger: logger.at(least: .warning)))
        do {
            try await group.run()
        } catch let error as IOError {
            throw CommandFailure(
                .unavailable, "port \(settings.port) of \(settings.host) can not be listened on: \(error)")
        }
        await transport.stop()
        try await store.close()
    }

    /// Migrates, claims the store, and clears up after a process that died.
    private func prepare() async throws {
        try store.takeOwnership()
        try await store.migrate()
        do {
            try spool.prepare()
        } catch {
            throw CommandFailure(
                .configuration,
                "CLIPBRIDGE_SPOOL_DIR is \"\(settings.spoolDirectory)\", which can not be created: \(error)")
        }
        let script = LedgerScript(policy: settings.policy, now: SystemWallClock().now())
        // Nobody else has the store, so every lease that is left is a dead process'.
        let transfers = try await store.write { transaction in
            try script.voidLeases(exceptOf: Self.owner, in: transaction)
            return try transaction.transfers()
        }
        let swept = spool.sweep { transfers[$0] != nil }
        if swept > 0 { logger.info("stale spool files removed", metadata: ["files": "\(swept)"]) }
    }
}

extension Logger {
    /// The same logger, for a library that says at `info` what is no concern of ours.
    func at(least level: Logger.Level) -> Logger {
        var logger = self
        logger.logLevel = max(level, logLevel)
        return logger
    }
}

extension Settings {
    /// The one way out, by these settings.
    var transportConfiguration: CurlTransport.Configuration {
        CurlTransport.Configuration(
            userAgent: "clipbridge/\(Clipbridge.version)", downloadBytesPerSecondMax: bandwidth?.down,
            uploadBytesPerSecondMax: bandwidth?.up)
    }
}
