// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// A process and the files that its output goes to.
struct RunningProgram: Sendable {
    private let process: Process
    private let outputPath: String
    private let errorPath: String

    /// - Parameter name: names the files in `folder`.
    init(
        _ executable: URL, _ arguments: [String], environment: [String: String], folder: URL, name: String
    ) throws {
        outputPath = folder.appending(path: "\(name).out").path()
        errorPath = folder.appending(path: "\(name).err").path()
        process = Process()
        process.executableURL = executable
        process.arguments = arguments
        process.environment = environment
        process.currentDirectoryURL = folder
        process.standardInput = FileHandle.nullDevice
        let files = try [Self.file(outputPath), Self.file(errorPath)]
        (process.standardOutput, process.standardError) = (files[0], files[1])
        try process.run()
        // The program has its own; a test may run thousands.
        try files.forEach { try $0.close() }
    }

    private static func file(_ path: String) throws -> FileHandle {
        try Data().write(to: URL(filePath: path))
        return try FileHandle(forWritingTo: URL(filePath: path))
    }

    var pid: Int32 { process.processIdentifier }
    var isRunning: Bool { process.isRunning }
    var outputFile: String { outputPath }
    var output: String { Self.text(outputPath) }
    var error: String { Self.text(errorPath) }

    private static func text(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }

    /// Only for a process that has not been waited for: else its number may be another's by now.
    func send(_ signal: Int32) {
        if isRunning { kill(pid, signal) }
    }

    /// The exit code once it has ended by itself.
    @discardableResult
    func exitCode(within limit: Duration = .seconds(60)) async throws -> Int32 {
        try await until("the end of process \(pid)", within: limit) { !isRunning }
        #expect(process.terminationReason == .exit, "process \(pid) was ended by a signal: \(error.suffix(2_000))")
        return process.terminationStatus
    }

    /// As a power failure would end it.
    func killed() async throws {
        send(SIGKILL)
        try await until("the end of process \(pid)") { !isRunning }
    }

    /// Processor time so far, of user and system, in seconds.
    func processorSeconds() throws -> Double {
        let handle = try #require(FileHandle(forReadingAtPath: "/proc/\(pid)/stat"))
        let text = String(decoding: try handle.readToEnd() ?? Data(), as: UTF8.self)
        // The name in parentheses may hold anything; behind it come the state and the counters.
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        let ticks = try #require(
            fields.count > 13
                ? Double(fields[11]).flatMap { user in
                    Double(fields[12]).map { user + $0 }
                } : nil)
        // The unit of /proc has been a hundredth of a second on every Linux of this age.
        return ticks / 100
    }
}

/// What a process that ran to its end has left.
struct FinishedProgram: Sendable {
    var status: Int32
    var output: String
    var error: String

    var lines: [Substring] { output.split(separator: "\n") }
}
