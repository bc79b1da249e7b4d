// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import Foundation
import Logging
import UnixSignals

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows the whole road: sandbox and bridge together, from an upload to verified objects.",
        discussion: "Exit code 0 only if every clip is complete and every object has its source's bytes.")

    @Option(help: "How many clips.") var clips = 5
    @Option(help: "How many times faster than real time the sandbox's videos move on.") var speed = 10.0
    @Option(help: "Gives up after so many seconds.") var timeout = 300
    @Option(help: "Seed of sizes and identifiers.") var seed: UInt64 = 1
    @Flag(help: "Print one JSON line instead of bars and a table.") var json = false
    @Flag(help: "Show the bridge's log.") var verbose = false

    func validate() throws {
        if !(1...1_000).contains(clips) { throw ValidationError("--clips is from 1 to 1000") }
        if !(speed > 0 && speed <= 1_000) { throw ValidationError("--speed is above 0 and at most 1000") }
        if timeout < 1 { throw ValidationError("--timeout is at least 1") }
    }

    func run() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "clipbridge-demo-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let logger = Logger(label: "clipbridge") {
            LineLogHandler(label: $0, format: .text, level: verbose ? .info : .critical)
        }
        let run = DemoRun(
            folder: folder.path, clips: clips, speed: speed, timeout: .seconds(timeout), seed: seed, showsBars: !json,
            logger: logger)
        let result = try await Self.untilInterrupted { try await run.result() }
        guard let result else {
            Terminal.error("\ninterrupted; everything was cleaned up")
            throw ExitCode(130)
        }
        if json { Terminal.output(JSONText.line(result.json)) } else { Terminal.output(result.table) }
        if !result.isGood { throw ExitCode.failure }
    }

    /// Nil when Ctrl-C or SIGTERM came first; what ran is cancelled and over by then.
    private static func untilInterrupted<Value: Sendable>(
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value? {
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                for await _ in signals { return nil }
                return nil
            }
            let first = try await group.next() ?? nil
            group.cancelAll()
            while (try? await group.next()) != nil {}
            return first
        }
    }
}
