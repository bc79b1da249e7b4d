// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import NIOConcurrencyHelpers
import Testing

/// A file's length and how it is cut.
struct TransferSize: Sendable {
    var bytes: UInt64
    var partBytes: UInt64 = 5 << 20

    /// Four parts, the last of them short.
    static let small = TransferSize(bytes: 16 << 20)

    /// A dozen parts, or what CLIPBRIDGE_TEST_TRANSFER_BYTES says and then in parts of the default size.
    static let large = byHand.map { TransferSize(bytes: $0, partBytes: 16 << 20) } ?? TransferSize(bytes: 64 << 20)
    static let isByHand = byHand != nil

    private static let byHand = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_TRANSFER_BYTES"].map { text in
        guard let bytes = UInt64(text) else { preconditionFailure("\"\(text)\" is no number of bytes") }
        return bytes
    }
}

/// A source, a storage, and `clipbridge transfer` between them.
struct TransferScene: Sendable {
    static let key = "clips/one file.mp4"

    let world: World
    let source: CountingSource
    let storage: CountingStorage
    let wire: Tripwire
    let size: TransferSize
    private let sourcePort, storagePort: Int

    /// How far a source may be ahead of the spool. Loopback has no such bound: the kernel takes tens of mebibytes that
    /// nobody has read, and no network holds so many.
    private static let aheadMax: UInt64 = 2 << 20
    /// For one process that moves all of it.
    static let limit = Duration.seconds(300)

    /// - Parameter percent: of the file's bytes, in that side's count, at which the wire sends its signal.
    static func run(
        _ size: TransferSize, _ side: Tripwire.Side = .download, percent: UInt64? = nil, signal: Int32 = SIGKILL,
        _ body: @escaping @Sendable (TransferScene) async throws -> Void
    ) async throws {
        try await World.run { world in
            let wire = Tripwire(side, at: size.bytes / 100 * (percent ?? 0), signal: signal)
            let folder = world.path("storage")
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let tight = percent == nil ? nil : wire
            let hasLength = NIOLockedValueBox(false)
            let source = CountingSource(size: size.bytes, wire: tight) { position in
                let spooled = Self.spooledBytes(world)
                if position > spooled + Self.aheadMax { return true }
                // Before its length is on record, nothing of a file can be gone on from.
                if spooled + Self.aheadMax < size.partBytes || hasLength.withLockedValue({ $0 }) { return false }
                let isRecorded = Self.hasLengthOnRecord(world)
                hasLength.withLockedValue { $0 = isRecorded }
                return !isRecorded
            }
            let storage = CountingStorage(folder: folder, wire: tight)
            try await serveOnLoopback { request in
                source.answer(request)
            } while: { sourcePort in
                try await serveOnLoopback { request in
                    try await storage.answer(request)
                } while: { storagePort in
                    let scene = TransferScene(
                        world: world, source: source, storage: storage, wire: wire, size: size,
                        sourcePort: sourcePort, storagePort: storagePort)
                    try await body(scene)
                }
            }
        }
    }

    // MARK: Processes

    var command: [String] {
        ["transfer", "http://127.0.0.1:\(sourcePort)\(CountingSource.path)", Self.key, "--json"]
    }

    /// - Parameter accessKey: the storage's name for who sends.
    func settings(_ accessKey: String, _ more: [String: String] = [:]) -> [String: String] {
        let own = [
            "R2_ENDPOINT": "http://127.0.0.1:\(storagePort)", "R2_BUCKET_NAME": CountingStorage.bucket,
            "R2_ACCESS_KEY_ID": accessKey, "R2_SECRET_ACCESS_KEY": "secret",
            "CLIPBRIDGE_PART_SIZE": "\(size.partBytes)",
        ]
        return own.merging(more) { _, more in more }
    }

    /// The process' end, and that of what it was in the midst of at the servers.
    func end(of program: RunningProgram) async throws {
        try await until("the end of process \(program.pid)", within: Self.limit) { !program.isRunning }
        try await until("silence at the servers") { source.isQuiet && storage.isQuiet }
    }

    // MARK: What is kept between two runs

    private static func folder(_ world: World) -> String { world.path("spool/transfer") }

    private static func keptFile(_ world: World, _ suffix: String) -> String? {
        let names = try? FileManager.default.contentsOfDirectory(atPath: folder(world))
        return names?.first { $0.hasSuffix(suffix) }.map { "\(folder(world))/\($0)" }
    }

    private static func spooledBytes(_ world: World) -> UInt64 {
        let attributes = keptFile(world, ".mp4.spool").flatMap {
            try? FileManager.default.attributesOfItem(atPath: $0)
        }
        return (attributes?[.size] as? NSNumber)?.uint64Value ?? 0
    }

    func keptFiles() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: Self.folder(world)) }

    var spoolFile: String? { Self.keptFile(world, ".mp4.spool") }
    var spooledBytes: UInt64 { Self.spooledBytes(world) }

    /// What the transfer's process has written down, line by line.
    private static func records(_ world: World) -> [JSONValue] {
        let text = keptFile(world, ".transfer.jsonl").flatMap { FileManager.default.contents(atPath: $0) } ?? Data()
        return text.split(separator: UInt8(ascii: "\n")).compactMap { try? JSONValue(parsing: $0) }
    }

    private static func hasLengthOnRecord(_ world: World) -> Bool {
        records(world).contains { $0["record"]?["size"] != nil }
    }

    /// The parts whose digests another run will know.
    var recordedParts: Set<Int64> {
        let records = Self.records(world)
        let parts = records.flatMap { $0["record"]?["parts"]?.arrayValue ?? [] } + records.compactMap { $0["part"] }
        return Set(parts.compactMap { $0["number"]?.integerValue })
    }
}

/// What a run's last line says.
struct TransferLine: Sendable {
    var json: JSONValue

    init(_ output: String) throws { json = try JSONValue(parsing: output) }

    private func bytes(_ name: String) throws -> UInt64 {
        UInt64(try #require(json[name]?.integerValue, "\"\(name)\" is not in \(json)"))
    }

    var received: UInt64 { get throws { try bytes("received_bytes") } }
    var sent: UInt64 { get throws { try bytes("sent_bytes") } }
    var redownloaded: UInt64 { get throws { try bytes("redownloaded_bytes") } }
}
