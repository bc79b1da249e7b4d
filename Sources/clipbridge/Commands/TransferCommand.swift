// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import CurlTransport
import Foundation
import Logging
import NIOConcurrencyHelpers
import ObjectStorage
import Pipeline

struct TransferCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transfer",
        abstract: "Moves one file from a URL to an object in the bucket, with the engine that serves clips.",
        discussion: "Interrupted, it goes on from where it stopped when it is run again with the same URL and key.")

    @Argument(help: "Where the file is: HTTPS, or plain HTTP on a loopback host.") var url: String
    @Argument(help: "The object's key.") var key: String
    @Flag(help: "Print one JSON line at the end instead of a bar.") var json = false
    @OptionGroup var options: SettingsOptions

    /// Tries in a row, with growing pauses; a service has a planner for that.
    private static let triesMax = 6

    func run() async throws {
        let settings = try await options.load()
        let storage = try Credentials.storage(settings)
        let logger = settings.makeLogger(atLeast: .warning)
        let transport = try CurlTransport(configuration: settings.transportConfiguration, logger: logger)
        let spool = Spool(folder: settings.spoolDirectory, bytesMax: settings.spoolBytesMax)
        try spool.prepare()
        let engine = TransferEngine(
            storage: S3Client(configuration: storage, transport: transport), transport: transport, spool: spool,
            settings: TransferSettings(
                downloadHosts: try hosts(settings), objectKey: key, publicURL: settings.r2PublicURL,
                partBytes: settings.partSize, partsMax: settings.partConcurrency))
        let id = try Self.identifier(url: url, bucket: storage.bucket, key: key)
        let journal = FileJournal(
            path: "\(settings.spoolDirectory)/\(id).transfer.json", display: TransferDisplay(isOn: !json))
        let start = ContinuousClock.now
        let object = try await move(id, engine, journal)
        await engine.cleanUp(id, journal: journal)
        await transport.stop()
        show(object, seconds: (ContinuousClock.now - start).inSeconds)
    }

    /// The URL's own host is allowed, because somebody named it.
    private func hosts(_ settings: Settings) throws -> DownloadHosts {
        guard let parts = URLComponents(string: url), let host = parts.host, ["http", "https"].contains(parts.scheme)
        else {
            throw ValidationError("\"\(url)\" is not an http or https URL")
        }
        let named = parts.port.map { "\(host):\($0)" } ?? host
        do throws(DownloadHosts.InvalidEntry) {
            return try DownloadHosts(SettingValue.list(settings.values[.downloadHosts] ?? "") + [named])
        } catch {
            throw ValidationError("\"\(error.text)\" is not a host")
        }
    }

    /// The same for the same file and object, so that another run finds what the last one left.
    private static func identifier(url: String, bucket: String, key: String) throws -> ClipUID {
        let digest = FileDigest(of: Array("\(url)\n\(bucket)\n\(key)".utf8)).sha256
        guard let id = ClipUID(digest.prefix(ClipUID.lengthMax)) else {
            throw CommandFailure(.failed, "the digest \"\(digest)\" makes no identifier")
        }
        return id
    }

    private func move(_ id: ClipUID, _ engine: TransferEngine, _ journal: FileJournal) async throws -> ObjectHead {
        var tries = 1
        while true {
            do {
                return try await engine.run(id, key: key, source: FixedSource(url: url), journal: journal)
            } catch {
                journal.display.finish()
                guard let failure = TransferEngine.failure(error) else { throw error }
                guard failure.isRetryable, tries < Self.triesMax else {
                    throw CommandFailure(failure.isRetryable ? .unavailable : .failed, failure.message)
                }
                let wait = failure.retryAfter ?? .seconds(1 << min(tries, 5))
                Terminal.error("\(failure.message); attempt \(tries + 1) in \(Int(wait.inSeconds)) s")
                try await Task.sleep(for: wait)
                tries += 1
            }
        }
    }

    private func show(_ object: ObjectHead, seconds: Double) {
        guard json else {
            Terminal.output("\(key)\t\(object.size) bytes\t\(object.etag ?? "-")")
            return
        }
        Terminal.output(
            JSONText.line([
                "ok": true, "key": .string(key), "bytes": .integer(Int64(clamping: object.size)),
                "etag": object.etag.map(JSONValue.string) ?? .null,
                "seconds": .double((seconds * 1_000).rounded() / 1_000),
            ]))
    }
}

/// Keeps a transfer's record in a file beside its spool.
private final class FileJournal: TransferJournal {
    let display: TransferDisplay
    private let path: String
    private let record: NIOLockedValueBox<TransferRecord?>

    init(path: String, display: TransferDisplay) {
        self.path = path
        self.display = display
        let data = FileManager.default.contents(atPath: path)
        record = NIOLockedValueBox(data.flatMap { try? JSONDecoder().decode(TransferRecord.self, from: $0) })
    }

    func load() async throws -> TransferRecord? { record.withLockedValue { $0 } }

    func save(_ new: TransferRecord) async throws {
        record.withLockedValue { $0 = new }
        try write()
    }

    func save(_ part: TransferPart) async throws {
        record.withLockedValue { record in
            record?.parts.removeAll { $0.number == part.number }
            record?.parts.append(part)
        }
        try write()
    }

    func forget() async throws {
        record.withLockedValue { $0 = nil }
        try FileManager.default.removeItem(atPath: path)
    }

    func report(_ observation: Observation) async throws { display.show(observation) }

    private func write() throws {
        guard let record = record.withLockedValue({ $0 }) else { return }
        try JSONEncoder().encode(record).write(to: URL(filePath: path), options: .atomic)
    }
}

/// One line that is drawn over, on a terminal.
private final class TransferDisplay: Sendable {
    private let isOn: Bool
    private let drawn = NIOLockedValueBox(false)

    init(isOn: Bool) { self.isOn = isOn && Terminal.isErrorTerminal }

    func show(_ observation: Observation) {
        guard isOn, let bytes = observation.details[.transferBytes]?.integerValue else { return }
        drawn.withLockedValue { $0 = true }
        let rate = (observation.details[.transferBytesPerSecond]?.numberValue ?? 0) / 1e6
        let percent = observation.percent.map { "\(Int($0)) %" } ?? ""
        let left = observation.details[.transferSecondsLeft]?.integerValue.map { "\($0) s left" } ?? ""
        Terminal.progress("\r\u{1B}[2K\(percent.led(6))  \(bytes) bytes  \((rate * 10).rounded() / 10) MB/s  \(left)")
    }

    func finish() {
        if drawn.withLockedValue({ $0 }) { Terminal.progress("\n") }
    }
}
