// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CurlTransport
import Foundation
import Logging
import NIOCore
import Sandbox
import ServiceLifecycle
import UnixSignals

struct SandboxCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sandbox",
        abstract: "Stands in for Cloudflare Stream, its MP4 host and R2 on a loopback port.",
        discussion: """
            Prints the settings that point a bridge at it as NAME=value lines, then serves.

            A --fault is key=value[,key=value...] with the keys route, kind (latency, status, 429, reset, \
            truncate, stall, drop, duplicate), rate (0 to 1), count, skip, latency, status, retry-after and \
            after (bytes). Routes: \(FaultRoute.allCases.map(\.rawValue).joined(separator: ", ")). \
            For example: --fault route=mp4,kind=reset,after=1MiB,rate=0.2
            """)

    @Option(help: "Port; 0 takes a free one.") var port = 8788
    @Option(help: "Folder for objects and sources.") var data = "clipbridge-sandbox"
    @Option(help: "How many times faster than real time videos move on.") var speed = 1.0
    @Option(help: "Subscribes this webhook URL from the start; one without a path gets the receiver's.") var notify:
        String?
    @Option(help: "A fault; may be given several times.") var fault: [String] = []
    @Option(help: "Seed of identifiers, keys and faults.") var seed: UInt64 = 1
    @Flag(help: "Limit the API to 1,200 requests in five minutes, as Cloudflare does.") var rateLimit = false
    @Option(help: "Name of the bucket.") var bucket = "clips"
    @Option(help: "File that gets a JSON line for each request: begin, end, method, path, query, status, range.")
    var accessLog: String?

    func validate() throws {
        if !(0...65_535).contains(port) { throw ValidationError("--port is from 0 to 65535") }
        if !(speed > 0 && speed <= 100_000) { throw ValidationError("--speed is above 0 and at most 100000") }
        _ = try faults()
    }

    private func faults() throws -> [FaultSpec] {
        try fault.map { text in
            do throws(FaultSpec.ParseError) {
                return try FaultSpec(parsing: text)
            } catch {
                throw ValidationError("--fault \"\(text)\": \(error)")
            }
        }
    }

    func run() async throws {
        let logger = Logger(label: "sandbox") {
            LineLogHandler(label: $0, format: Terminal.isErrorTerminal ? .text : .json, level: .notice)
        }
        let transport = try CurlTransport(logger: logger)
        let sandbox = try Sandbox(
            configuration: SandboxConfiguration(
                port: port, dataDirectory: data, speed: speed, notifyURL: try notify.map(receiverURL),
                faults: try faults(), seed: seed,
                rateLimit: rateLimit ? .cloudflare : nil, bucket: bucket, accessLog: accessLog),
            transport: transport, logger: logger)
        let printing = PrintingSandbox(sandbox: sandbox)
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: printing)], gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger.at(least: .warning)))
        do {
            try await group.run()
        } catch let error as IOError {
            throw CommandFailure(.unavailable, "port \(port) can not be listened on: \(error)")
        }
        await transport.stop()
    }
}

/// Prints the settings before the first request is served.
private struct PrintingSandbox: Service {
    let sandbox: Sandbox

    func run() async throws {
        try await sandbox.run { settings in Terminal.output(String(settings.text.dropLast())) }
    }
}
