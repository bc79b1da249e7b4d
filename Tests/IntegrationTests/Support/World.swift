// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CurlTransport
import Foundation
import HTTPTypes
import Logging
import NIOConcurrencyHelpers
import OutboundHTTP
import Testing

/// One test's own folder and processes; all of them are gone when it ends, however it ends.
final class World: Sendable {
    let folder: URL
    let transport: CurlTransport
    let database: WorldDatabase
    private let programs = NIOLockedValueBox<[RunningProgram]>([])

    private init(_ database: WorldDatabase) throws {
        self.database = database
        folder = FileManager.default.temporaryDirectory.appending(path: "clipbridge-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        transport = try CurlTransport(
            configuration: .init(proxy: .none), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// - Parameter database: for a test that is about one kind of it.
    static func run(
        on database: @autoclosure () throws -> WorldDatabase = try .make(), _ body: (World) async throws -> Void
    ) async throws {
        try await Places.take()
        defer { Places.giveBack() }
        let world = try World(try database())
        let result: Result<Void, any Error>
        do {
            try await world.database.create(in: world)
            try await body(world)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        world.endPrograms()
        try await world.database.drop(in: world)
        await world.transport.stop()
        try? FileManager.default.removeItem(at: world.folder)
        try result.get()
    }

    private func endPrograms() {
        for program in programs.withLockedValue({ $0 }) { program.send(SIGKILL) }
    }

    var databaseURL: String { database.url(in: self) }

    func path(_ name: String) -> String { folder.appending(path: name).path() }

    // MARK: Programs

    /// Beside the test bundle, because the test target depends on it.
    static let executable: URL = {
        let bundles = [Bundle.main.bundleURL, URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()]
        let candidates = bundles.map { $0.appending(path: "clipbridge") }
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0.path()) } ?? candidates[0]
    }()

    /// Of the tests' own environment only what a process needs to run at all.
    private static let inherited = ProcessInfo.processInfo.environment.filter { name, _ in
        ["PATH", "LD_LIBRARY_PATH", "LANG", "ASAN_OPTIONS", "TSAN_OPTIONS"].contains(name)
    }

    /// What every process here is given: nothing of it leaves the test's folder.
    private var environment: [String: String] {
        let own = [
            "HOME": folder.path(), "TMPDIR": folder.path(), "NO_COLOR": "1",
            "DATABASE_URL": databaseURL, "CLIPBRIDGE_SPOOL_DIR": path("spool"),
        ]
        return Self.inherited.merging(own) { _, own in own }
    }

    func start(
        _ arguments: [String], _ settings: [String: String] = [:], of executable: String? = nil
    ) throws -> RunningProgram {
        let number = programs.withLockedValue { $0.count }
        let program = try RunningProgram(
            executable.map { URL(filePath: $0) } ?? Self.executable, arguments,
            environment: environment.merging(settings) { _, given in given }, folder: folder,
            name: "\(number)-\(arguments.first ?? "program")".filter { $0 != "/" })
        programs.withLockedValue { $0.append(program) }
        return program
    }

    /// Runs `clipbridge`, or another program, to its end.
    @discardableResult
    func run(
        _ arguments: [String], _ settings: [String: String] = [:], of executable: String? = nil,
        within limit: Duration = .seconds(60)
    ) async throws -> FinishedProgram {
        let program = try start(arguments, settings, of: executable)
        let status = try await program.exitCode(within: limit)
        return FinishedProgram(status: status, output: program.output, error: program.error)
    }

    /// How much of a clip's MP4 the spool holds.
    func spooledBytes(of uid: String) -> Int {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path("spool/\(uid).mp4.spool"))
        return (attributes?[.size] as? NSNumber)?.intValue ?? 0
    }

    /// A port that was free a moment ago, for what has to be named before it listens.
    func freePort() async throws -> Int {
        try await LoopbackServer.run { server in server.port }
    }
}

/// How many tests may have processes at a time, so that on a small machine each still keeps its time limits.
private enum Places {
    private static let free = NIOLockedValueBox(max(4, ProcessInfo.processInfo.activeProcessorCount))

    static func take() async throws {
        try await until("a free place among the tests", within: .seconds(600)) {
            free.withLockedValue { free in
                guard free > 0 else { return false }
                free -= 1
                return true
            }
        }
    }

    static func giveBack() { free.withLockedValue { $0 += 1 } }
}
