// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CloudflareStream
import CurlTransport
import ObjectStorage

/// What a bridge can not run without.
struct Credentials: Sendable {
    var accountID: String
    var apiToken: String
    var webhookSecrets: [String]
    var storage: S3Configuration

    /// - Throws: `SettingsError` naming the first setting that is missing.
    init(_ settings: Settings, needsWebhookSecret: Bool = true) throws(SettingsError) {
        (accountID, apiToken) = try Self.account(settings)
        webhookSecrets = settings.webhookSecrets
        if needsWebhookSecret, webhookSecrets.isEmpty { _ = try Self.need(nil, .cloudflareWebhookSecret) }
        storage = try Self.storage(settings)
    }

    /// The account and its token alone.
    static func account(_ settings: Settings) throws(SettingsError) -> (String, String) {
        (
            try need(settings.cloudflareAccountID, .cloudflareAccountID),
            try need(settings.cloudflareAPIToken, .cloudflareAPIToken)
        )
    }

    /// The bucket and its key alone.
    static func storage(_ settings: Settings) throws(SettingsError) -> S3Configuration {
        S3Configuration(
            endpoint: try need(settings.r2Endpoint, .r2Endpoint), region: settings.r2Region,
            bucket: try need(settings.r2BucketName, .r2BucketName),
            credentials: StorageCredentials(
                accessKeyID: try need(settings.r2AccessKeyID, .r2AccessKeyID),
                secretAccessKey: try need(settings.r2SecretAccessKey, .r2SecretAccessKey)))
    }

    private static func need(_ value: String?, _ name: SettingName) throws(SettingsError) -> String {
        guard let value else {
            throw SettingsError(
                name.rawValue, "is not set, and it is needed", accepts: "the \(name.definition.meaning)")
        }
        return value
    }
}

extension Settings {
    /// A client for the account with a request budget of its own, for a command that ends.
    func streamClient() throws -> StreamClient {
        let (accountID, apiToken) = try Credentials.account(self)
        return StreamClient(
            transport: try CurlTransport(configuration: transportConfiguration, logger: .silent),
            baseURL: cloudflareAPIBase, accountID: accountID, token: apiToken, budget: RateBudget(), logger: .silent)
    }

    /// A bridge without an admin token may only be reached from its own machine.
    func checkExposure() throws(SettingsError) {
        guard adminToken == nil, !isLoopbackHost else { return }
        throw SettingsError(
            SettingName.adminToken.rawValue, "is not set, and CLIPBRIDGE_HOST is \"\(host)\"",
            accepts: "a token, or a loopback host to do without one")
    }

    var isLoopbackHost: Bool {
        host == "localhost" || host == "::1" || host.wholeMatch(of: /127\.\d{1,3}\.\d{1,3}\.\d{1,3}/) != nil
    }

    /// Where a bridge with these settings is reached from this machine.
    var serverURL: String {
        let name = host == "0.0.0.0" || host == "::" ? "127.0.0.1" : host
        return "http://\(name.contains(":") ? "[\(name)]" : name):\(port)"
    }
}
