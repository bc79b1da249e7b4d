// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import CurlTransport
import Foundation
import HTTPTypes
import Logging
import OutboundHTTP
import Sandbox
import WebhookReceiver

struct Replay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Signs payloads and posts them to a receiver, as Cloudflare would.",
        discussion: "Prints one line for each answer; exit code 1 if any was not 2xx.")

    @Argument(help: ArgumentHelp("Payload files, or folders of .json files.", valueName: "path"))
    var paths: [String]
    @Option(help: "Receiver's URL; one without a path gets the receiver's (default: from the settings).")
    var to: String?
    @Option(help: "Secret to sign with (default: the first of CLOUDFLARE_WEBHOOK_SECRET).")
    var secret: String?
    @Flag(help: "Send in a random order.") var shuffle = false
    @Option(help: "Send so many copies more of each.") var duplicate = 0
    @Option(help: "Leave out this share, from 0 to 1.") var drop = 0.0
    @Option(help: "Wait so many milliseconds between two.") var delay = 0
    @Option(help: "Seed of all that is random.") var seed: UInt64?
    @Flag(name: .customLong("fresh-uids"), help: "Give every clip a new uid, the same one wherever it appears.")
    var freshUIDs = false
    @Option(name: .customLong("config"), help: "File of NAME=value lines; the environment goes before it.")
    var configFile: String?

    func validate() throws {
        if paths.isEmpty { throw ValidationError("at least one file or folder is needed") }
        if !(0...10_000).contains(duplicate) { throw ValidationError("--duplicate is from 0 to 10000") }
        if !(0...1).contains(drop) { throw ValidationError("--drop is a share from 0 to 1") }
        if !(0...3_600_000).contains(delay) { throw ValidationError("--delay is from 0 to 3600000") }
    }

    func run() async throws {
        let settings = try Settings(RawSettings(flags: [:], configFile: configFile))
        guard let secret = secret ?? settings.webhookSecrets.first else {
            throw SettingsError(
                SettingName.cloudflareWebhookSecret.rawValue, "is not set", accepts: "a secret, or --secret")
        }
        let url = try receiverURL(to ?? settings.serverURL)
        var random = SplitMix64(state: seed ?? .random(in: 0...(.max)))
        let payloads = try plan(using: &random)
        let transport = try CurlTransport(logger: Logger(label: "clipbridge") { _ in SwiftLogNoOpLogHandler() })
        var failures = 0
        for (index, payload) in payloads.enumerated() {
            if index > 0, delay > 0 { try await Task.sleep(for: .milliseconds(delay)) }
            if try await !Self.post(payload, to: url, secret: secret, transport) { failures += 1 }
        }
        if failures > 0 { throw CommandFailure(.failed, "\(failures) of \(payloads.count) answers were not 2xx") }
    }

    private struct Payload {
        var name: String
        var body: [UInt8]
    }

    /// What is sent, in its order.
    private func plan(using random: inout SplitMix64) throws -> [Payload] {
        var uids = FreshUIDs()
        var payloads: [Payload] = []
        for path in try paths.flatMap(Self.files) {
            guard let data = FileManager.default.contents(atPath: path) else {
                throw CommandFailure(.failed, "\"\(path)\" can not be read")
            }
            let body = freshUIDs ? uids.replace(in: Array(data), using: &random) : Array(data)
            let payload = Payload(name: path, body: body)
            payloads += Array(repeating: payload, count: duplicate + 1)
        }
        if drop > 0 { payloads.removeAll { _ in Double.random(in: 0..<1, using: &random) < drop } }
        return shuffle ? payloads.shuffled(using: &random) : payloads
    }

    /// A file as it is; of a folder all `.json` files below it, in the order of their paths.
    private static func files(_ path: String) throws -> [String] {
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path) else {
            throw CommandFailure(.failed, "there is no file or folder \"\(path)\"")
        }
        guard attributes[.type] as? FileAttributeType == .typeDirectory else { return [path] }
        let below = try FileManager.default.subpathsOfDirectory(atPath: path)
        return below.filter { $0.hasSuffix(".json") }.sorted().map { "\(path)/\($0)" }
    }

    /// - Returns: whether the answer was 2xx.
    private static func post(
        _ payload: Payload, to url: String, secret: String, _ transport: CurlTransport
    ) async throws -> Bool {
        var request = OutboundRequest(method: .post, url: url, body: .bytes(payload.body))
        request.headers[.contentType] = "application/json"
        request.headers[.webhookSignature] = WebhookVerifier.sign(
            secret: secret, time: SystemWallClock().now(), body: payload.body)
        let response: OutboundResponse
        do throws(TransferError) {
            response = try await transport.send(request)
        } catch {
            throw CommandFailure(.unavailable, "the receiver at \(url) can not be reached: \(error.message)")
        }
        let answer = String(decoding: response.body, as: UTF8.self).trimmingCharacters(in: .newlines)
        Terminal.output("\(response.status) \(payload.name) \(answer)")
        return response.isSuccess
    }
}

/// A webhook receiver's URL as it was given; one without a path gets ours.
func receiverURL(_ text: String) throws -> String {
    guard let parts = URLComponents(string: text), ["http", "https"].contains(parts.scheme),
        parts.host?.isEmpty == false
    else { throw ValidationError("\"\(text)\" is not an http or https URL") }
    guard parts.path.isEmpty || parts.path == "/" else { return text }
    return (text.hasSuffix("/") ? String(text.dropLast()) : text) + WebhookReceiver.path
}

/// Puts new uids in the place of a payload's, so that the same story can be told again of new clips.
private struct FreshUIDs {
    private var known: [String: String] = [:]

    /// Replaces the text of `uid` wherever it stands in the body: its URLs hold it too.
    mutating func replace(in body: [UInt8], using random: inout SplitMix64) -> [UInt8] {
        guard let uid = JSONValue(json: body)?.objectValue?["uid"]?.stringValue, ClipUID(uid) != nil
        else { return body }
        let fresh = known[uid] ?? Self.make(using: &random)
        known[uid] = fresh
        return Array(String(decoding: body, as: UTF8.self).replacingOccurrences(of: uid, with: fresh).utf8)
    }

    private static func make(using random: inout SplitMix64) -> String {
        let digits = Array("0123456789abcdef")
        return String((0..<32).map { _ in digits[Int.random(in: 0..<16, using: &random)] })
    }
}
