// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipStore
import Foundation
import ObjectStorage
import SQLiteClipStore

/// Runs the bridge in a world that a seed makes up, again and again.
///
/// Everything is on one thread: `main` is not asynchronous, and its loop is all that runs.
@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clipbridge-simulate",
        abstract: "Runs the bridge's real parts on virtual time, under loads and faults that seeds choose.",
        discussion: "Exit codes: 0 nothing was found, 1 a seed failed and was printed, 64 wrong usage.")

    @Option(help: "How many seeds.") var seeds: UInt64 = 100
    @Option(help: "The first of them.") var from: UInt64 = 1
    @Option(help: "Only this one.") var seed: UInt64?
    @Option(help: "The store: memory or sqlite.") var store = StoreKind.memory
    @Option(help: "A bridge that is broken on purpose.") var variant: Variant?
    @Option(help: "No more than these clips.") var clips: Int?
    @Option(help: "No more than these replicas.") var replicas: Int?
    @Option(help: "A fault that does not happen; may be repeated.") var without: [String] = []
    @Flag(help: "Say everything that happens.") var verbose = false
    @Flag(help: "Print each seed's trace.") var traces = false
    @Flag(help: "Go on after a failing seed.") var all = false
    @Flag(help: "Leave a failing seed as large as it is.") var unshrunk = false

    func run() throws {
        try Self.haveStableHashes()
        Say.everything(verbose)
        Scheduler.shared.capture()
        let range = seed.map { $0...$0 } ?? from...(from + max(seeds, 1) - 1)
        let began = ContinuousClock.now
        var (steps, failed) = (0, 0)
        for seed in range {
            let scenario = scenario(seed)
            let result = Run.of(scenario)
            steps += result.steps
            if traces { Say.output("\(seed) runs as \(String(result.trace, radix: 16))") }
            if let violation = result.violation {
                report(scenario, violation)
                failed += 1
                if !all { break }
            }
        }
        if failed > 0 { throw ExitCode(1) }
        let seconds = (ContinuousClock.now - began).components.seconds
        Say.output(
            "seeds \(range.lowerBound) to \(range.upperBound) on \(store.rawValue): clean, \(steps) steps, \(seconds) s"
        )
    }

    /// Sets and dictionaries are walked in an order that differs from process to process, unless this is set at its
    /// start.
    private static func haveStableHashes() throws {
        let name = "SWIFT_DETERMINISTIC_HASHING"
        if ProcessInfo.processInfo.environment[name] != nil { return }
        _ = unsafe setenv(name, "1", 1)
        // The arguments as the system gave them, for the program that takes this one's place.
        _ = unsafe execv("/proc/self/exe", CommandLine.unsafeArgv)
        throw ValidationError("the program can not be started anew with \(name)=1; set it beforehand")
    }

    private func scenario(_ seed: UInt64) -> Scenario {
        var scenario = Scenario(seed: seed, store: store, variant: variant)
        scenario.clips = min(scenario.clips, clips ?? .max)
        scenario.replicas = min(scenario.replicas, replicas ?? .max)
        scenario.faults.subtract(without.compactMap(Fault.init(rawValue:)))
        return scenario
    }

    private func report(_ scenario: Scenario, _ violation: String) {
        Say.output("seed \(scenario.seed) fails: \(violation)")
        Say.output("  \(scenario.description)")
        guard !unshrunk else { return Say.output("  replay: clipbridge-simulate \(scenario.arguments)") }
        let (small, text) = Run.shrunk(scenario, violation)
        Say.output("shrunk: \(text)")
        Say.output("  \(small.description)")
        Say.output("  replay: clipbridge-simulate \(small.arguments)")
    }
}
