// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import CurlTransport
import Foundation
import Logging
import Metrics
import ObjectStorage
import Pipeline

struct TransferCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transfer",
        abstract: "Moves one file from a URL to an object in the bucket, with the engine that serves clips.",
        discussion: "Interrupted, it goes on from where it stopped when it is run again with the same URL and key. "
            + "An object that is there already is replaced.")

    @Argument(help: "Where the file is: HTTPS, or plain HTTP on a loopback host.") var url: String
    @Argument(help: "The object's key.") var key: String
    @Flag(help: "Print one JSON line at the end, also of a failure, instead of a bar.") var json = false
    @OptionGroup var options: SettingsOptions

    func validate() throws {
        if namedHost == nil {
            // Not quoted: there may be a password or a token in it.
            throw ValidationError(
                "URL has to be HTTPS, or plain HTTP on a loopback host, and without a user's name in it")
        }
        if !(1...1_024).contains(key.utf8.count) { throw ValidationError("KEY has 1 to 1024 bytes") }
    }

    /// The URL's own host as an entry of the hosts that are allowed, because somebody named it; nil where nothing can
    /// be fetched from there.
    private var namedHost: String? {
        guard let parts = URLComponents(string: url), let host = parts.host else { return nil }
        let named = parts.port.map { "\(host):\($0)" } ?? host
        return (try? DownloadHosts([named]))?.permission(for: url) == nil ? nil : named
    }

    func run() async throws {
        let settings = try options.load()
        let storage = try Credentials.storage(settings)
        let totals = CounterTotals()
        // Before the engine makes its counters.
        MetricsSystem.bootstrap(totals)
        let spool = try Self.spool(settings)
        let id = try TransferJob.identifier(url: url, bucket: storage.bucket, key: key)
        let journal = try FileJournal(
            path: "\(spool.folder)/\(id).transfer.jsonl", display: TransferDisplay(isOn: !json))
        defer { journal.close() }
        let transport = try CurlTransport(
            configuration: settings.transportConfiguration, logger: settings.makeLogger(atLeast: .warning))
        let client = S3Client(configuration: storage, transport: transport)
        let engine = TransferEngine(
            storage: client, transport: transport, spool: spool,
            settings: TransferSettings(
                downloadHosts: try hosts(settings), objectKey: key, publicURL: settings.r2PublicURL,
                partBytes: settings.partSize, partsMax: settings.partConcurrency))
        let job = TransferJob(id: id, url: url, key: key, storage: client, engine: engine, journal: journal)
        let start = ContinuousClock.now
        let result: Result<ObjectHead, any Error>
        do {
            result = .success(try await untilInterrupted { try await job.run() })
            await engine.cleanUp(id, journal: journal)
        } catch {
            result = .failure(error)
        }
        await transport.stop()
        journal.display.clear()
        try show(result, totals, seconds: (ContinuousClock.now - start).inSeconds)
    }

    /// A folder of its own: a bridge that starts removes what is no clip's from its spool.
    private static func spool(_ settings: Settings) throws -> Spool {
        let spool = Spool(folder: "\(settings.spoolDirectory)/transfer", bytesMax: settings.spoolBytesMax)
        do {
            try Spool(folder: settings.spoolDirectory, bytesMax: 0).prepare()
            try spool.prepare()
        } catch {
            throw CommandFailure(
                .configuration,
                "CLIPBRIDGE_SPOOL_DIR is \"\(settings.spoolDirectory)\", which can not be created: \(error)")
        }
        return spool
    }

    private func hosts(_ settings: Settings) throws -> DownloadHosts {
        let named = namedHost.map { [$0] } ?? []
        do throws(DownloadHosts.InvalidEntry) {
            return try DownloadHosts(SettingValue.list(settings.values[.downloadHosts] ?? "") + named)
        } catch {
            throw CommandFailure(.configuration, "\"\(error.text)\" is not a host")
        }
    }

    // MARK: What became of it

    private func show(_ result: Result<ObjectHead, any Error>, _ totals: CounterTotals, seconds: Double) throws {
        let moved = "clipbridge_transfer_bytes_total"
        var line: [String: JSONValue] = [
            "key": .string(key), "seconds": .double((seconds * 1_000).rounded() / 1_000),
            "received_bytes": .integer(totals.total(moved, ["direction": "download"])),
            "sent_bytes": .integer(totals.total(moved, ["direction": "upload"])),
            "redownloaded_bytes": .integer(totals.total("clipbridge_redownloaded_bytes_total")),
        ]
        switch result {
        case .success(let object):
            line["ok"] = true
            line["bytes"] = .integer(Int64(clamping: object.size))
            line["etag"] = object.etag.map(JSONValue.string) ?? .null
            Terminal.output(
                json ? JSONText.line(.object(line)) : "\(key)\t\(object.size) bytes\t\(object.etag ?? "-")")
        case .failure(let error):
            let text =
                error is Interruption
                ? "interrupted; run again, it goes on where it stopped" : CommandFailure(error)?.message ?? "\(error)"
            line["ok"] = false
            line["error"] = .string(text)
            if json { Terminal.output(JSONText.line(.object(line))) }
            guard let interruption = error as? Interruption else { throw error }
            Terminal.error("clipbridge: \(text)")
            throw interruption.exitCode
        }
    }
}
