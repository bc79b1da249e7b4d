// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipStore
import Foundation
import NIOConcurrencyHelpers
import ObjectStorage
import SQLiteClipStore

/// One scenario from its beginning to its end.
enum Run {
    struct Result {
        var violation: String?
        var trace: UInt64
        var steps: Int
    }

    /// More than any scenario takes.
    private static let stepsMax = 3_000_000
    /// Jobs that may run while time stands still.
    private static let standstillMax = 100_000

    static func of(_ scenario: Scenario) -> Result {
        let folder = Folder()
        do {
            switch scenario.store {
            case .memory:
                let store = MemoryClipStore()
                return drive(World(scenario, base: store, outside: store, folder: folder.path))
            case .sqlite:
                // Names that are written here are valid.
                func open() throws -> SQLiteClipStore {
                    try SQLiteClipStore(
                        path: "\(folder.path)/clips.db", clipsTable: SQLName("clips")!, uidColumn: SQLName("uid")!,
                        bodiesPerRun: 4)
                }
                let store = try open()
                return drive(World(scenario, base: store, outside: try open(), folder: folder.path))
            }
        } catch {
            return Result(violation: "the store can not be opened: \(error)", trace: 0, steps: 0)
        }
    }

    private static func drive(_ world: World<some ClipStore>) -> Result {
        let scheduler = Scheduler.shared
        scheduler.begin(seed: world.scenario.seed)
        let isDone = NIOLockedValueBox(false)
        Task {
            do {
                try await scheduler.exclusively { try await world.base.migrate() }
                await world.run()
            } catch {
                world.watch.found("the store can not be migrated: \(error)")
            }
            isDone.withLockedValue { $0 = true }
        }
        var (steps, standstill) = (0, 0)
        while !isDone.withLockedValue({ $0 }), world.watch.violation == nil {
            if FileDigest.readingAfterwards(scheduler.step) {
                (steps, standstill) = (steps + 1, standstill + 1)
                if steps > stepsMax { world.watch.found("it does not come to an end") }
                if standstill > standstillMax { world.watch.found("something turns without time going on") }
            } else {
                standstill = 0
                if !world.state.clock.advanceToNextDeadline() { world.watch.found("nothing goes on any more") }
            }
        }
        let trace = scheduler.trace
        end(world)
        return Result(violation: world.watch.violation, trace: trace, steps: steps)
    }

    /// What is left is let go, so that the next run begins with nothing.
    private static func end(_ world: World<some ClipStore>) {
        world.stop()
        var left = 1_000_000
        while left > 0 {
            left -= 1
            if FileDigest.readingAfterwards(Scheduler.shared.step) { continue }
            if !world.state.clock.advanceToNextDeadline() { break }
        }
        Task {
            try? await world.base.close()
            try? await world.outside.close()
        }
        while Scheduler.shared.step() {}
    }

    /// Takes away what is not needed for it to fail.
    static func shrunk(_ scenario: Scenario, _ violation: String) -> (Scenario, String) {
        var (best, text) = (scenario, violation)
        while true {
            let smaller = best.smaller.lazy.compactMap { less in of(less).violation.map { (less, $0) } }.first
            guard let (less, found) = smaller else { return (best, text) }
            (best, text) = (less, found)
        }
    }
}

/// A folder for one run, in memory where the system has such a place.
private final class Folder {
    let path: String

    init() {
        let shared = "/dev/shm"
        let place = FileManager.default.isWritableFile(atPath: shared) ? shared + "/" : NSTemporaryDirectory()
        path = place + "clipbridge-simulate-\(ProcessInfo.processInfo.processIdentifier)"
        try? FileManager.default.removeItem(atPath: path)
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
