// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The settings as flags. Secrets have none: a command line is there for everybody on the machine to read.
struct SettingsOptions: ParsableArguments {
    @Option(
        name: .customLong("config"), help: "File of NAME=value lines; flags and the environment go before it.",
        completion: .file())
    var configFile: String?

    @Option(name: .customLong("cloudflare-account-id"), help: .setting(.cloudflareAccountID))
    var cloudflareAccountID: String?

    @Option(name: .customLong("cloudflare-api-base"), help: .setting(.cloudflareAPIBase))
    var cloudflareAPIBase: String?

    @Option(name: .customLong("r2-account-id"), help: .setting(.r2AccountID))
    var r2AccountID: String?

    @Option(name: .customLong("r2-bucket-name"), help: .setting(.r2BucketName))
    var r2BucketName: String?

    @Option(name: .customLong("r2-public-url"), help: .setting(.r2PublicURL))
    var r2PublicURL: String?

    @Option(name: .customLong("r2-endpoint"), help: .setting(.r2Endpoint))
    var r2Endpoint: String?

    @Option(name: .customLong("r2-region"), help: .setting(.r2Region))
    var r2Region: String?

    @Option(name: .customLong("database-url"), help: .setting(.databaseURL))
    var databaseURL: String?

    @Option(name: .customLong("host"), help: .setting(.host))
    var host: String?

    @Option(name: .customLong("port"), help: .setting(.port))
    var port: String?

    @Option(name: .customLong("public-url"), help: .setting(.publicURL))
    var publicURL: String?

    @Option(name: .customLong("spool-dir"), help: .setting(.spoolDirectory), completion: .directory)
    var spoolDirectory: String?

    @Option(name: .customLong("spool-max-bytes"), help: .setting(.spoolBytesMax))
    var spoolBytesMax: String?

    @Option(name: .customLong("r2-key"), help: .setting(.r2Key))
    var r2Key: String?

    @Option(name: .customLong("max-transfers"), help: .setting(.transfersMax))
    var transfersMax: String?

    @Option(name: .customLong("part-size"), help: .setting(.partSize))
    var partSize: String?

    @Option(name: .customLong("part-concurrency"), help: .setting(.partConcurrency))
    var partConcurrency: String?

    @Option(name: .customLong("bandwidth"), help: .setting(.bandwidth))
    var bandwidth: String?

    @Option(name: .customLong("download-hosts"), help: .setting(.downloadHosts))
    var downloadHosts: String?

    @Option(name: .customLong("auto-mp4"), help: .setting(.autoMP4), completion: .list(["true", "false"]))
    var autoMP4: String?

    @Option(name: .customLong("unknown-clips"), help: .setting(.unknownClips), completion: .list(["create", "reject"]))
    var unknownClips: String?

    @Option(name: .customLong("webhook-tolerance"), help: .setting(.webhookTolerance))
    var webhookTolerance: String?

    @Option(name: .customLong("poll-min"), help: .setting(.pollMin))
    var pollMin: String?

    @Option(name: .customLong("poll-max"), help: .setting(.pollMax))
    var pollMax: String?

    @Option(name: .customLong("mp4-deadline"), help: .setting(.mp4Deadline))
    var mp4Deadline: String?

    @Option(name: .customLong("encode-deadline"), help: .setting(.encodeDeadline))
    var encodeDeadline: String?

    @Option(name: .customLong("upload-deadline"), help: .setting(.uploadDeadline))
    var uploadDeadline: String?

    @Option(name: .customLong("clips-table"), help: .setting(.clipsTable))
    var clipsTable: String?

    @Option(name: .customLong("uid-column"), help: .setting(.uidColumn))
    var uidColumn: String?

    @Option(name: .customLong("retention"), help: .setting(.retention))
    var retention: String?

    @Option(name: .customLong("notify-hosts"), help: .setting(.notifyHosts))
    var notifyHosts: String?

    @Option(
        name: .customLong("log-level"), help: .setting(.logLevel),
        completion: .list(["trace", "debug", "info", "notice", "warning", "error", "critical"]))
    var logLevel: String?

    @Option(name: .customLong("log-format"), help: .setting(.logFormat), completion: .list(["text", "json"]))
    var logFormat: String?

    /// What was given on the command line.
    private var flags: [SettingName: String] {
        let given: [(SettingName, String?)] = [
            (.cloudflareAccountID, cloudflareAccountID), (.cloudflareAPIBase, cloudflareAPIBase),
            (.r2AccountID, r2AccountID), (.r2BucketName, r2BucketName), (.r2PublicURL, r2PublicURL),
            (.r2Endpoint, r2Endpoint), (.r2Region, r2Region), (.databaseURL, databaseURL), (.host, host),
            (.port, port), (.publicURL, publicURL), (.spoolDirectory, spoolDirectory),
            (.spoolBytesMax, spoolBytesMax), (.r2Key, r2Key), (.transfersMax, transfersMax), (.partSize, partSize),
            (.partConcurrency, partConcurrency), (.bandwidth, bandwidth), (.downloadHosts, downloadHosts),
            (.autoMP4, autoMP4), (.unknownClips, unknownClips), (.webhookTolerance, webhookTolerance),
            (.pollMin, pollMin), (.pollMax, pollMax), (.mp4Deadline, mp4Deadline), (.encodeDeadline, encodeDeadline),
            (.uploadDeadline, uploadDeadline), (.clipsTable, clipsTable), (.uidColumn, uidColumn),
            (.retention, retention), (.notifyHosts, notifyHosts), (.logLevel, logLevel), (.logFormat, logFormat),
        ]
        return Dictionary(uniqueKeysWithValues: given.compactMap { name, value in value.map { (name, $0) } })
    }

    /// The settings in force.
    func load() throws(SettingsError) -> Settings {
        try Settings(RawSettings(flags: flags, configFile: configFile))
    }
}

extension ArgumentHelp {
    static func setting(_ name: SettingName) -> ArgumentHelp {
        let definition = name.definition
        let preset = definition.preset.map { " (default: \($0))" } ?? ""
        return ArgumentHelp("\(definition.meaning)\(preset).", valueName: "value")
    }
}
