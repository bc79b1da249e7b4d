// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import ClipStore
import CloudflareStream
import CurlTransport
import Foundation
import HTTPTypes
import Logging
import ObjectStorage
import OutboundHTTP

struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tries credentials, bucket, clock, webhook, disk and store, and says in words what is wrong.",
        discussion:
            "Changes nothing but an object of its own in the bucket, which it removes again. Exit code 0 when all "
            + "is well.")

    @Flag(help: "Print JSON.") var json = false
    @OptionGroup var options: SettingsOptions

    private struct Finding {
        var name: String
        var failure: CommandFailure?
        var text: String
    }

    func run() async throws {
        let settings = try options.load()
        try Self.refuseMissing(settings)
        let credentials = try Credentials(settings)
        try settings.checkExposure()
        let transport = try CurlTransport(logger: .silent)
        let client = client(settings, credentials, transport)
        let findings = [
            await finding("cloudflare", "the API token may read the account's videos") {
                try await client.verify()
            },
            await finding("permission", "the API token may ask for MP4s") { try await Self.tryWriting(client) },
            await finding("bucket", "the bucket takes, shows and deletes objects") {
                try await Self.tryBucket(credentials.storage, transport)
            },
            await finding("clock", "the clock agrees with the bucket's server") {
                try await Self.tryClock(credentials.storage, transport)
            },
            await webhookFinding(settings, client),
            await finding("spool", "the spool folder can be written") { try Self.trySpool(settings) },
            await finding("store", "the store opens, or can be created") { try await Self.tryStore(settings) },
        ]
        await transport.stop()
        show(findings)
        if let worst = findings.compactMap(\.failure).max(by: { $0.code.rawValue < $1.code.rawValue }) {
            throw ExitCode(worst.code.rawValue)
        }
    }

    private func client(
        _ settings: Settings, _ credentials: Credentials, _ transport: CurlTransport
    ) -> StreamClient {
        StreamClient(
            transport: transport, baseURL: settings.cloudflareAPIBase, accountID: credentials.accountID,
            token: credentials.apiToken, budget: RateBudget(),
            logger: .silent)
    }

    private func finding(_ name: String, _ good: String, _ body: () async throws -> Void) async -> Finding {
        do {
            try await body()
            return Finding(name: name, failure: nil, text: good)
        } catch {
            let failure = CommandFailure(error) ?? CommandFailure(.failed, "\(error)")
            return Finding(name: name, failure: failure, text: failure.message)
        }
    }

    private func webhookFinding(_ settings: Settings, _ client: StreamClient) async -> Finding {
        guard let target = settings.webhookTarget else {
            return Finding(
                name: "webhook", failure: nil,
                text: "not looked at, for CLIPBRIDGE_PUBLIC_URL is not set; clips get on by inquiries alone, only later"
            )
        }
        return await finding("webhook", "Cloudflare's webhooks go to \(target.url), signed with a secret that is set") {
            if let complaint = target.complaint(about: try await client.webhook()) {
                throw CommandFailure(.failed, complaint)
            }
        }
    }

    private func show(_ findings: [Finding]) {
        if json {
            let list = findings.map { finding in
                JSONValue.object([
                    "check": .string(finding.name), "ok": .bool(finding.failure == nil), "text": .string(finding.text),
                ])
            }
            Terminal.output(
                JSONText.line(["ok": .bool(findings.allSatisfy { $0.failure == nil }), "checks": .array(list)]))
            return
        }
        for finding in findings {
            let word = finding.failure == nil ? "ok  " : "FAIL"
            Terminal.output("\(word)  \(finding.name): \(finding.text)")
        }
    }

    // MARK: The tries

    /// All at once, so that nobody has to come back for each.
    private static func refuseMissing(_ settings: Settings) throws {
        let needed: [(SettingName, Bool)] = [
            (.cloudflareAccountID, settings.cloudflareAccountID == nil),
            (.cloudflareAPIToken, settings.cloudflareAPIToken == nil),
            (.cloudflareWebhookSecret, settings.webhookSecrets.isEmpty),
            (.r2AccessKeyID, settings.r2AccessKeyID == nil), (.r2SecretAccessKey, settings.r2SecretAccessKey == nil),
            (.r2BucketName, settings.r2BucketName == nil),
        ]
        let missing = needed.filter(\.1).map(\.0)
        guard missing.count > 1 else { return }
        let lines = missing.map { "  \($0.rawValue): \($0.definition.meaning)" }
        throw CommandFailure(
            .configuration,
            "these settings are missing, in the environment or in a file that --config names:\n"
                + lines.joined(separator: "\n"))
    }

    /// By a request that can not succeed: no video has this uid, and a token that may only read is refused before that
    /// is found.
    private static func tryWriting(_ client: StreamClient) async throws {
        guard let nobody = ClipUID(String(repeating: "0", count: 32)) else { return }
        do throws(StreamError) {
            _ = try await client.createDownload(nobody)
        } catch {
            switch error.code {
            case .notFound, .noRoute, .refused, .notReady: return
            case .unauthorized:
                throw CommandFailure(
                    .refused,
                    "the API token may not ask for MP4s: give it the permission Stream: Edit (Write) on the account. "
                        + error.message)
            case .rateLimited, .budget, .unavailable, .unexpectedAnswer, .transfer, .cancelled: throw error
            }
        }
    }

    /// A key of its own, which no clip's object can have.
    private static func tryBucket(_ configuration: S3Configuration, _ transport: CurlTransport) async throws {
        let storage = S3Client(configuration: configuration, transport: transport)
        try await storage.headBucket()
        let key = "clipbridge-check/\(UUID().uuidString.lowercased())"
        let body = Array("clipbridge was here".utf8)
        _ = try await storage.putObject(key, body: .bytes(body), payloadHash: FileDigest(of: body).sha256)
        let head = try await storage.headObject(key)
        try await storage.deleteObject(key)
        guard head?.size == UInt64(body.count) else {
            throw CommandFailure(.failed, "the bucket does not show an object right after it was put")
        }
    }

    /// Signatures of both sides fail when the clock is wrong: Cloudflare's after 5 minutes, R2's after 15.
    private static func tryClock(_ configuration: S3Configuration, _ transport: CurlTransport) async throws {
        let response = try await transport.send(OutboundRequest(method: .head, url: configuration.endpoint))
        guard let text = response.head.headers[.date], let theirs = HTTPDate.parse(text) else { return }
        let distance = (SystemWallClock().now() - theirs).inSeconds
        guard abs(distance) < 60 else {
            throw CommandFailure(
                .configuration, "this machine's clock is \(Int(distance)) s off the server's: set it by NTP")
        }
    }

    private static func trySpool(_ settings: Settings) throws {
        let folder = settings.spoolDirectory
        let probe = "\(folder)/.clipbridge-check"
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            try Data("x".utf8).write(to: URL(filePath: probe))
            try FileManager.default.removeItem(atPath: probe)
        } catch {
            throw CommandFailure(
                .configuration, "CLIPBRIDGE_SPOOL_DIR is \"\(folder)\", which can not be written: \(error)")
        }
        let attributes = try FileManager.default.attributesOfFileSystem(forPath: folder)
        let free = (attributes[.systemFreeSize] as? NSNumber)?.uint64Value ?? .max
        if free < settings.spoolBytesMax {
            throw CommandFailure(
                .configuration,
                "the spool's disk has \(free) bytes free, less than CLIPBRIDGE_SPOOL_MAX_BYTES "
                    + "(\(settings.spoolBytesMax)): free some, or lower the setting")
        }
    }

    private static func tryStore(_ settings: Settings) async throws {
        if case .sqlite(let path) = settings.database, !FileManager.default.fileExists(atPath: path) {
            // Not there yet is not wrong, as long as it can be made.
            let folder = URL(filePath: path).deletingLastPathComponent().path
            if FileManager.default.isWritableFile(atPath: folder) { return }
            throw CommandFailure(.configuration, "DATABASE_URL names a file in \"\(folder)\", which can not be written")
        }
        let store = try settings.openStore(logger: .silent)
        do {
            try await store.checkReady()
        } catch let error as StoreError where error.code == .noSchema {
            // `serve` makes it.
        }
        try await store.close()
    }
}
