// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Runs the simulation, in a process of its own because it takes over the process' scheduling.
///
/// `CLIPBRIDGE_TEST_SEEDS` is how many seeds there are for each store.
@Suite(.serialized) struct SimulationTests {
    private static let seeds = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_SEEDS"] ?? "300"

    @Test(arguments: ["memory", "sqlite"])
    func nothingIsFoundInAFixedSetOfSeeds(store: String) throws {
        let result = try Simulation.run(["--seeds", Self.seeds, "--store", store])
        #expect(result.status == 0, "\(result.output)")
    }

    @Test(arguments: ["memory", "sqlite"])
    func sameSeedRunsTheSame(store: String) throws {
        let arguments = ["--from", "40", "--seeds", "8", "--store", store, "--traces"]
        let (first, second) = (try Simulation.run(arguments), try Simulation.run(arguments))
        #expect(first.traces.count == 8)
        #expect(Set(first.traces.map { $0.split(separator: " ")[3] }).count == 8)
        #expect(first.traces == second.traces)
    }

    @Test(arguments: BrokenVariant.all)
    func brokenBridgeIsCaught(_ variant: BrokenVariant) throws {
        let result = try Simulation.run(
            ["--variant", variant.name, "--seed", String(variant.seed), "--unshrunk"])
        #expect(result.status == 1, "seed \(variant.seed) does not catch it: \(result.output)")
        #expect(result.output.contains(variant.finding), "\(result.output)")
        // The same seed finds nothing in a bridge that is whole.
        #expect(try Simulation.run(["--seed", String(variant.seed)]).status == 0)
    }

    @Test func everyBrokenVariantHasItsSeed() throws {
        let help = try Simulation.run(["--variant", "?"])
        let names = BrokenVariant.all.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(names.filter { !help.error.contains("- \($0)\n") }.isEmpty, "\(help.error)")
        #expect(help.error.matches(of: /- [a-z][a-z-]*\n/).count == names.count, "\(help.error)")
    }

    @Test func failingSeedReplaysWhenItIsShrunk() throws {
        let variant = BrokenVariant.all[0]
        let result = try Simulation.run(["--variant", variant.name, "--seed", String(variant.seed)])
        let replay = try #require(
            result.output.firstMatch(of: /shrunk: (.*)\n.*\n  replay: clipbridge-simulate (.*)\n/))
        let again = try Simulation.run(replay.output.2.split(separator: " ").map(String.init) + ["--unshrunk"])
        #expect(again.status == 1)
        #expect(again.output.contains(replay.output.1))
    }
}

/// A bridge that is broken on purpose, a seed that catches it, and a word of what is found.
struct BrokenVariant: Sendable, CustomTestStringConvertible {
    var name: String
    var seed: Int
    var finding: String

    var testDescription: String { name }

    static let all: [BrokenVariant] = [
        BrokenVariant(name: "acknowledge-early", seed: 1, finding: "acknowledged before it was stored"),
        BrokenVariant(name: "lose-commit", seed: 1, finding: "acknowledged before it was stored"),
        BrokenVariant(name: "check-then-insert", seed: 2, finding: "stored twice"),
        BrokenVariant(name: "step-back", seed: 1, finding: "by its ledger it is"),
        BrokenVariant(name: "stale-read", seed: 3, finding: "decided otherwise than the machine does"),
        BrokenVariant(name: "progress-anew", seed: 1, finding: "progress of clip"),
        BrokenVariant(name: "forget-decision", seed: 2, finding: "does not refold"),
        BrokenVariant(name: "forget-epoch", seed: 35, finding: "under a lease of"),
        BrokenVariant(name: "forget-renewal", seed: 202, finding: "who is alive and well"),
        BrokenVariant(name: "claim-leased", seed: 1, finding: "claimed clip"),
        BrokenVariant(name: "forget-work", seed: 1, finding: "is stuck"),
        BrokenVariant(name: "drop-if-range", seed: 2, finding: "is not what its host had"),
        BrokenVariant(name: "trust-spool", seed: 88, finding: "is not what its host had"),
        BrokenVariant(name: "assume-object", seed: 52, finding: "R2 has no object"),
        BrokenVariant(name: "ignore-budget", seed: 1, finding: "requests to Stream within"),
        BrokenVariant(name: "ignore-limit", seed: 2, finding: "while Stream had asked to wait"),
        BrokenVariant(name: "drop-retry-after", seed: 122, finding: "before its Retry-After was over"),
        BrokenVariant(name: "send-twice", seed: 5, finding: "was asked for 2 times"),
        BrokenVariant(name: "unsigned-payload", seed: 20, finding: "is not what its host had"),
    ]
}

/// One run of the program.
private struct Simulation {
    var status: Int32
    var output: String
    var error: String

    var traces: [String] { output.split(separator: "\n").filter { $0.contains(" runs as ") }.map(String.init) }

    static func run(_ arguments: [String]) throws -> Simulation {
        let process = Process()
        process.executableURL = executable
        process.arguments = arguments
        let (output, error) = (Pipe(), Pipe())
        (process.standardOutput, process.standardError) = (output, error)
        process.standardInput = FileHandle.nullDevice
        try process.run()
        // Little is said on either, so none of them can fill up while the other is read.
        let said = try output.fileHandleForReading.readToEnd()
        let complained = try error.fileHandleForReading.readToEnd()
        process.waitUntilExit()
        return Simulation(
            status: process.terminationStatus, output: String(decoding: said ?? Data(), as: UTF8.self),
            error: String(decoding: complained ?? Data(), as: UTF8.self))
    }

    /// Beside the test bundle, because the test target depends on it.
    private static let executable: URL = {
        let bundles = [Bundle.main.bundleURL, URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()]
        let candidates = bundles.map { $0.appending(path: "clipbridge-simulate") }
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0.path()) } ?? candidates[0]
    }()
}
