// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipStore
import Logging
import Metrics
import OperatorAPI
import UnixSignals

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Takes webhooks and drives clips to R2, until it is told to stop.",
        discussion: "Every option is also a setting in the environment or the --config file; secrets only there.")

    @Flag(help: "Subscribe the webhook anew when the account's subscription points elsewhere.")
    var reclaimWebhook = false
    @OptionGroup var options: SettingsOptions

    func run() async throws {
        let settings = try options.load()
        if reclaimWebhook { _ = try settings.neededWebhookTarget() }
        let logger = settings.makeLogger()
        // What is missing is told before a store is made.
        _ = try Credentials(settings)
        try settings.checkExposure()
        let registry = PrometheusRegistry()
        // Before any part makes a metric of its own.
        MetricsSystem.bootstrap(registry)
        try await serve(settings, from: try settings.openStore(logger: logger), logger, registry)
    }

    private func serve(
        _ settings: Settings, from store: some ClipStore, _ logger: Logger, _ registry: PrometheusRegistry
    ) async throws {
        let bridge = try Bridge(
            settings: settings, store: store, reclaimsWebhook: reclaimWebhook, logger: logger, registry: registry)
        if settings.adminToken == nil {
            logger.warning(
                "no admin token: the operator API is open to every program on this machine, and to no other machine")
        }
        try await bridge.run(shutdownSignals: [.sigterm, .sigint]) { port in
            logger.info("serving", metadata: ["host": "\(settings.host)", "port": "\(port)"])
        }
        logger.info("stopped")
    }
}

extension Settings {
    func makeLogger(atLeast floor: Logger.Level = .trace) -> Logger {
        let format = logFormat ?? (Terminal.isErrorTerminal ? .text : .json)
        let level = max(logLevel, floor)
        return Logger(label: "clipbridge") { LineLogHandler(label: $0, format: format, level: level) }
    }
}
