// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import Foundation
import Logging
import ObjectStorage
import Pipeline

/// The settings, read once and checked as a whole before anything starts.
struct Settings: Sendable {
    enum LogFormat: String, Sendable { case text, json }

    var cloudflareAccountID: String?
    var cloudflareAPIToken: String?
    var webhookSecrets: [String]
    var cloudflareAPIBase: String
    var r2AccessKeyID: String?
    var r2SecretAccessKey: String?
    var r2BucketName: String?
    var r2PublicURL: String?
    var r2Endpoint: String?
    var r2Region: String
    var database: Database
    var host: String
    var port: Int
    var publicURL: String?
    var adminToken: String?
    var spoolDirectory: String
    var spoolBytesMax: UInt64
    var r2Key: String
    var transfersMax: Int
    var partSize: UInt64
    var partConcurrency: Int
    /// Bytes per second over all transfers; nil for no limit.
    var bandwidth: (down: UInt64, up: UInt64)?
    var downloadHosts: DownloadHosts
    var policy: LifecyclePolicy
    var webhookTolerance: Duration
    var clipsTable: SQLName
    var uidColumn: SQLName
    var retention: Duration
    var outgoing: OutgoingSettings
    var logLevel: Logger.Level
    var logFormat: LogFormat?

    /// Every setting with its value in force as text, secrets as they are.
    var values: [SettingName: String] = [:]

    /// - Throws: `SettingsError` for the first value that can not be used.
    init(_ raw: RawSettings) throws(SettingsError) {
        var check = SettingsCheck(raw: raw)
        cloudflareAccountID = try check.text(.cloudflareAccountID)
        cloudflareAPIToken = try check.text(.cloudflareAPIToken)
        webhookSecrets = SettingValue.list(try check.text(.cloudflareWebhookSecret) ?? "")
        cloudflareAPIBase = try check.required(.cloudflareAPIBase) { Self.url($0) }
        let account = try check.text(.r2AccountID) ?? cloudflareAccountID
        r2AccessKeyID = try check.text(.r2AccessKeyID)
        r2SecretAccessKey = try check.text(.r2SecretAccessKey)
        r2BucketName = try check.optional(.r2BucketName) {
            $0.wholeMatch(of: /[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]/) == nil ? nil : $0
        }
        r2PublicURL = try check.optional(.r2PublicURL) { Self.url($0) }
        r2Endpoint = try check.derived(
            .r2Endpoint, account.map { "https://\($0).r2.cloudflarestorage.com" }
        ) { Self.url($0) }
        r2Region = try check.required(.r2Region) { $0 }
        database = try check.required(.databaseURL) { Database($0) }
        host = try check.required(.host) { $0 }
        port = try check.required(.port) { SettingValue.whole($0, in: 0...65_535) }
        publicURL = try check.optional(.publicURL) { Self.url($0) }
        adminToken = try check.text(.adminToken)
        spoolDirectory = try check.required(.spoolDirectory) { $0 }
        spoolBytesMax = try check.required(.spoolBytesMax) { SettingValue.bytes($0) }
        r2Key = try check.required(.r2Key) {
            $0.contains("{uid}") && $0.utf8.count <= 1_024 && !$0.hasPrefix("/") ? $0 : nil
        }
        transfersMax = try check.required(.transfersMax) { SettingValue.whole($0, in: 1...256) }
        partSize = try check.required(.partSize) {
            SettingValue.bytes($0).flatMap { (PartPlan.partBytesMin...PartPlan.partBytesMax).contains($0) ? $0 : nil }
        }
        partConcurrency = try check.required(.partConcurrency) { SettingValue.whole($0, in: 1...64) }
        bandwidth = try check.optional(.bandwidth) { Self.bandwidth($0) }
        downloadHosts = try check.required(.downloadHosts) { try? DownloadHosts(SettingValue.list($0)) }
        policy = try Self.policy(&check)
        webhookTolerance = try check.required(.webhookTolerance) { SettingValue.duration($0) }
        clipsTable = try check.required(.clipsTable) { SQLName($0) }
        uidColumn = try check.required(.uidColumn) { SQLName($0).flatMap { Self.isUIDColumn($0) ? $0 : nil } }
        retention = try check.required(.retention) { SettingValue.duration($0) }
        outgoing = try OutgoingSettings(&check)
        logLevel = try check.required(.logLevel) { Logger.Level(rawValue: $0.lowercased()) }
        logFormat = try check.optional(.logFormat) { LogFormat(rawValue: $0.lowercased()) }
        values = check.values
    }

    private static func policy(_ check: inout SettingsCheck) throws(SettingsError) -> LifecyclePolicy {
        var policy = LifecyclePolicy()
        policy.requestsMP4 = try check.required(.autoMP4) { SettingValue.bool($0) }
        policy.createsUnknownClips = try check.required(.unknownClips) {
            switch $0 {
            case "create": true
            case "reject": false
            default: nil
            }
        }
        policy.pollMin = try check.required(.pollMin) { Self.positive($0) }
        policy.pollMax = try check.required(.pollMax) { Self.positive($0) }
        policy.mp4Deadline = try check.required(.mp4Deadline) { Self.positive($0) }
        policy.encodeDeadline = try check.required(.encodeDeadline) { Self.positive($0) }
        policy.uploadDeadline = try check.required(.uploadDeadline) { Self.positive($0) }
        if policy.pollMin > policy.pollMax {
            throw SettingsError(
                SettingName.pollMin.rawValue, "is longer than \(SettingName.pollMax.rawValue)",
                accepts: "at most the longest time")
        }
        return policy
    }

    private static func isUIDColumn(_ name: SQLName) -> Bool {
        name.parts.count == 1 && !["status", "processing_details"].contains(name.name.lowercased())
    }

    private static func positive(_ text: String) -> Duration? {
        SettingValue.duration(text).flatMap { $0 > .zero ? $0 : nil }
    }

    /// Without a slash at its end; nil for what is no http or https URL, or has a query or a fragment.
    static func url(_ text: String) -> String? {
        guard let parts = URLComponents(string: text), ["http", "https"].contains(parts.scheme?.lowercased()),
            parts.host?.isEmpty == false, parts.query == nil, parts.fragment == nil
        else { return nil }
        return text.hasSuffix("/") ? String(text.dropLast()) : text
    }

    private static func bandwidth(_ text: String) -> (down: UInt64, up: UInt64)? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { SettingValue.bytes(String($0)) }
        guard parts.count == 2, let down = parts[0], let up = parts[1], down > 0, up > 0 else { return nil }
        return (down, up)
    }
}

/// Reads settings one by one and keeps what is in force as text.
struct SettingsCheck {
    let raw: RawSettings
    var values: [SettingName: String] = [:]

    init(raw: RawSettings) { self.raw = raw }

    mutating func text(_ name: SettingName) throws(SettingsError) -> String? {
        try optional(name) { $0 }
    }

    /// A setting that may be left out.
    mutating func optional<Value>(
        _ name: SettingName, _ parse: (String) -> Value?
    ) throws(SettingsError) -> Value? {
        guard let given = try raw.given(name) else { return nil }
        return try parsed(given, name, parse)
    }

    /// A setting that has a default.
    mutating func required<Value>(_ name: SettingName, _ parse: (String) -> Value?) throws(SettingsError) -> Value {
        try parsed(try raw.given(name) ?? name.definition.preset ?? "", name, parse)
    }

    /// A setting whose default follows from another.
    mutating func derived<Value>(
        _ name: SettingName, _ preset: String?, _ parse: (String) -> Value?
    ) throws(SettingsError) -> Value? {
        guard let text = try raw.given(name) ?? preset else { return nil }
        return try parsed(text, name, parse)
    }

    private mutating func parsed<Value>(
        _ text: String, _ name: SettingName, _ parse: (String) -> Value?
    ) throws(SettingsError) -> Value {
        guard let value = parse(text) else {
            let shown = name.isSecret ? "is not usable" : "is \"\(text)\""
            throw SettingsError(name.rawValue, shown, accepts: name.definition.accepts)
        }
        values[name] = text
        return value
    }
}
