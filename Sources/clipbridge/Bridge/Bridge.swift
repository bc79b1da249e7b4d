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
import OutgoingWebhooks
import Pipeline
import ServiceLifecycle
import UnixSignals
import WebhookReceiver

/// Receiver, monitor, pipeline and API in one process: the one place where they meet.
struct Bridge<Store: ClipStore>: Sendable {
    let settings: Settings
    let logger: Logger
    let store: Store
    private let reclaimsWebhook: Bool
    private let transport: CurlTransport
    private let stream: StreamClient
    private let spool: Spool
    private let monitor: Monitor<Store>
    private let pipeline: Pipeline
    private let events: EventFeed<Store>
    /// Nil where nobody is told.
    private let outgoing: OutgoingWebhooks<Store>?
    private let webhookSecrets: WebhookSecrets
    /// Each tells of a delivery that no secret fits.
    private let mismatches: AsyncStream<Void>
    private let receiver: WebhookReceiver
    private let responder: RouterResponder<BasicRequestContext>

    /// Checks the settings; nothing is started.
    /// - Parameters:
    ///   - reclaimsWebhook: whether a subscription that points elsewhere is taken back.
    ///   - registry: the one that the process counts in; of another only what is read for a page is shown.
    init(
        settings: Settings, store: Store, reclaimsWebhook: Bool = false, logger: Logger,
        registry: PrometheusRegistry = PrometheusRegistry()
    ) throws {
        self.settings = settings
        self.logger = logger
        self.store = store
        self.reclaimsWebhook = reclaimsWebhook
        let credentials = try Credentials(settings)
        try settings.checkExposure()
        transport = try CurlTransport(configuration: settings.transportConfiguration, logger: logger)
        let spool = Spool(folder: settings.spoolDirectory, bytesMax: settings.spoolBytesMax)
        self.spool = spool
        let stream = StreamClient(
            transport: transport, baseURL: settings.cloudflareAPIBase, accountID: credentials.accountID,
            token: credentials.apiToken, budget: Self.budget(of: credentials.accountID, in: store), logger: logger)
        self.stream = stream
        let pipeline = Pipeline(
            stream: stream, storage: S3Client(configuration: credentials.storage, transport: transport),
            transport: transport, spool: spool,
            settings: TransferSettings(
                downloadHosts: settings.downloadHosts, objectKey: settings.r2Key, publicURL: settings.r2PublicURL,
                partBytes: settings.partSize, partsMax: settings.partConcurrency),
            logger: logger)
        self.pipeline = pipeline
        let events = EventFeed(store: store, logger: logger)
        self.events = events
        let outgoing = Self.outgoing(settings.outgoing, store, transport, logger)
        self.outgoing = outgoing
        let monitor = Monitor(
            store: store, performer: pipeline,
            configuration: MonitorConfiguration(
                policy: settings.policy, owner: Self.owner, notifyTargets: settings.outgoing.notifyTargets.map(\.id),
                transfersMax: settings.transfersMax,
                retention: settings.retention),
            logger: logger,
            onChange: {
                events.wake()
                outgoing?.wake()
            })
        self.monitor = monitor
        let metrics = MetricsPage(
            version: Clipbridge.version,
            health: HealthReader(
                registry: registry, storeFacts: { try await StoreFacts(of: store) },
                spool: .init(bytesMax: spool.bytesMax, bytesUsed: { spool.bytesUsed() })))
        let webhookSecrets = WebhookSecrets(credentials.webhookSecrets)
        self.webhookSecrets = webhookSecrets
        let (mismatches, hint) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.mismatches = mismatches
        let receiver = WebhookReceiver(
            configuration: .init(secrets: webhookSecrets, tolerance: settings.webhookTolerance),
            ledger: Self.ledger(settings.outgoing, store, outgoing), logger: logger, onStored: { monitor.wake() },
            onMismatch: { hint.yield() })
        self.receiver = receiver
        responder = Self.router(
            settings, receiver, store: store, monitor: monitor, pipeline: pipeline, events: events,
            metrics: metrics
        ).buildResponder()
    }

    /// Names this process in leases.
    private static var owner: String { LeaseOwner.this }

    /// Of all processes that share the store, where it can keep one.
    private static func budget(of account: String, in store: Store) -> any RequestBudget {
        guard let keeper = store as? any SharedTexts else { return RateBudget() }
        return SharedRateBudget(keeper: StoredBudgetLevel(texts: keeper, account: account))
    }

    private static func outgoing(
        _ settings: OutgoingSettings, _ store: Store, _ transport: CurlTransport, _ logger: Logger
    ) -> OutgoingWebhooks<Store>? {
        guard !settings.targets.isEmpty else { return nil }
        return OutgoingWebhooks(
            store: store, transport: transport, targets: settings.targets, signer: settings.signer, owner: owner,
            logger: logger)
    }

    /// Where deliveries are stored, and from where they are passed on.
    private static func ledger(
        _ settings: OutgoingSettings, _ store: Store, _ outgoing: OutgoingWebhooks<Store>?
    ) -> any DeliveryLedger {
        guard !settings.forwardTargets.isEmpty else { return store }
        return ForwardingLedger(ledger: store, targets: settings.forwardTargets.map(\.id)) { outgoing?.wake() }
    }

    private static func router(
        _ settings: Settings, _ receiver: WebhookReceiver, store: Store, monitor: Monitor<Store>,
        pipeline: Pipeline, events: EventFeed<Store>, metrics: MetricsPage
    ) -> Router<BasicRequestContext> {
        let router = Router(context: BasicRequestContext.self)
        receiver.addRoutes(to: router)
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
        OperatorAPI(
            store: store, actions: actions, events: events, policy: settings.policy, metrics: metrics,
            adminToken: settings.adminToken, dashboard: settings.dashboard
        ).addRoutes(to: router)
        return router
    }

    /// Serves until one of the signals, or until the task is cancelled.
    /// - Parameter onServing: runs once with the port, when requests are taken.
    func run(
        shutdownSignals: [UnixSignal], onServing: @escaping @Sendable (Int) async -> Void = { _ in }
    ) async throws {
        try await prepare()
        var limits = ServerLimits()
        // The other half is for the store, the spool and what goes out.
        if let filesMax = OpenFiles.raiseLimit() { limits.connectionsMax = min(limits.connectionsMax, filesMax / 2) }
        let server = BridgeServer(limits: limits, receiver: receiver)
        let application = Application(
            responder: responder,
            server: server.builder,
            configuration: server.configuration(
                address: .hostname(settings.host, port: settings.port), logger: logger),
            onServerRunning: { [settings] listener in
                await server.begin(on: listener)
                await onServing(listener.localAddress?.port ?? settings.port)
            },
            logger: logger.at(least: .notice))
        var services = watches
        if let outgoing { services.append(.init(service: outgoing)) }
        services.append(.init(service: monitor))
        services.append(.init(service: application))
        services.append(.init(service: events))
        // Stopped in reverse: event streams end, for the server waits for them; then nothing more is accepted; then
        // what runs is brought to its end; then what that has to tell is sent.
        let group = ServiceGroup(
            configuration: .init(
                services: services, gracefulShutdownSignals: shutdownSignals, logger: logger.at(least: .warning)))
        do {
            try await group.run()
        } catch let error as IOError {
            throw CommandFailure(
                .unavailable, "port \(settings.port) of \(settings.host) can not be listened on: \(error)")
        } catch let error where error is SocketAddressError || error is SocketAddressError.UnknownHost {
            throw SettingsError(
                SettingName.host.rawValue, "is \"\(settings.host)\"", accepts: "a name or an address of this machine")
        }
        await transport.stop()
        try await store.close()
    }

    /// What looks after things outside now and then.
    private var watches: [ServiceGroupConfiguration.ServiceConfiguration] {
        let sweep = UploadSweep(store: store, pipeline: pipeline, logger: logger)
        guard let target = settings.webhookTarget else { return [.init(service: sweep)] }
        let watch = SubscriptionWatch(
            target: target, stream: stream, reclaims: reclaimsWebhook, logger: logger, secrets: webhookSecrets,
            mismatches: mismatches)
        return [.init(service: sweep), .init(service: watch)]
    }

    /// Migrates, claims the store, and clears up after a process that died.
    private func prepare() async throws {
        try await store.takeOwnership()
        try await store.migrate()
        do {
            try spool.prepare()
        } catch {
            throw CommandFailure(
                .configuration,
                "CLIPBRIDGE_SPOOL_DIR is \"\(settings.spoolDirectory)\", which can not be created: \(error)")
        }
        let script = LedgerScript(policy: settings.policy, now: SystemWallClock().now())
        let (owner, isShared) = (Self.owner, store.isShared)
        let swept = try await spool.sweep {
            try await store.write { transaction in
                // Where nobody else has the store, every lease that is left is a dead process'.
                if !isShared { try script.voidLeases(exceptOf: owner, in: transaction) }
                return Set(try transaction.transfers().keys)
            }
        }
        try await sweepOutbox()
        if swept > 0 { logger.info("stale spool files removed", metadata: ["files": "\(swept)"]) }
    }

    /// What waits for receivers that are configured no more is sent to nobody.
    private func sweepOutbox() async throws {
        let targets = settings.outgoing.targets.map(\.id)
        let isStale = try await store.read { try !Set($0.messageCounts().keys).isSubset(of: targets) }
        guard isStale else { return }
        let removed = try await store.write { try $0.removeMessages(exceptTo: targets) }
        logger.warning(
            "outgoing webhooks removed, whose receivers are configured no more", metadata: ["messages": "\(removed)"])
    }
}

/// This process' name in leases: a host may run several, one after the other, under one process id.
private enum LeaseOwner {
    static let this = [
        ProcessInfo.processInfo.hostName, String(ProcessInfo.processInfo.processIdentifier),
        String(UInt32.random(in: 0...(.max))),
    ].joined(separator: ":")
}

/// Keeps the level of an account's budget where the clips are.
private struct StoredBudgetLevel: BudgetLevelKeeper {
    let texts: any SharedTexts
    let account: String

    func withLevel<Value: Sendable>(
        _ body: @Sendable @escaping (inout RateBudgetMachine.Level?, Timestamp) -> Value
    ) async throws -> Value {
        try await texts.withText("budget \(account)") { text, now in
            var level = text.flatMap { try? JSONDecoder().decode(RateBudgetMachine.Level.self, from: Data($0.utf8)) }
            let value = body(&level, now)
            text = try level.map { String(decoding: try JSONEncoder().encode($0), as: UTF8.self) }
            return value
        }
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
    /// What the dashboard shows of them.
    fileprivate var dashboard: DashboardSettings {
        DashboardSettings(
            storeKind: database.kind, isSecure: publicURL?.hasPrefix("https://") ?? false)
    }

    /// The one way out, by these settings.
    var transportConfiguration: CurlTransport.Configuration {
        CurlTransport.Configuration(
            userAgent: "clipbridge/\(Clipbridge.version)", downloadBytesPerSecondMax: bandwidth?.down,
            uploadBytesPerSecondMax: bandwidth?.up)
    }
}
