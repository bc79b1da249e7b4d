// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import NIOConcurrencyHelpers

/// Whether a replica lives. Everything that it is given asks here, before and after it does something: so it can die
/// or stand still at any await that reaches out of its process.
final class Life: Sendable {
    /// What a dead replica's calls end with; its tasks are cancelled besides, so that they come to their end.
    struct Dead: Error {}

    private struct State: Sendable {
        var isDead = false
        var pausedUntil: Timestamp?
        /// Its clock or its store was not what it should be: what follows from that is no fault of its own.
        var isTroubled = false
        var clockOffset = Duration.zero
    }

    let owner: String
    let host: Int
    /// One start of its machine: the real one has a single name, which would do for all hosts.
    let machine: String
    private let clock: MockClock
    private let awaits: Awaits
    private let state = NIOLockedValueBox(State())

    init(owner: String, host: Int, machine: String, clock: MockClock, awaits: Awaits) {
        self.owner = owner
        self.host = host
        self.machine = machine
        self.clock = clock
        self.awaits = awaits
    }

    var isDead: Bool { state.withLockedValue(\.isDead) }
    var isTroubled: Bool { state.withLockedValue { $0.isTroubled || $0.isDead } }

    func kill() { state.withLockedValue { $0.isDead = true } }
    func trouble() { state.withLockedValue { $0.isTroubled = true } }

    func pause(until end: Timestamp) {
        state.withLockedValue { state in
            state.pausedUntil = end
            state.isTroubled = true
        }
    }

    func setClock(by offset: Duration) {
        state.withLockedValue { state in
            state.clockOffset += offset
            state.isTroubled = true
        }
    }

    var now: Timestamp { clock.now() + state.withLockedValue(\.clockOffset) }

    /// One await that reaches out of the process.
    func pass(isDownload: Bool = false) async throws {
        awaits.passed(self, isDownload: isDownload)
        while let end = state.withLockedValue(\.pausedUntil), clock.now() < end {
            // Who is cancelled meanwhile stands still all the same.
            let left = end - clock.now()
            let clock = clock
            await Task { try? await clock.sleep(for: left) }.value
        }
        if isDead { throw Dead() }
    }
}

/// Counts the awaits of all replicas; the seed names those at which something happens.
final class Awaits: Sendable {
    typealias Plan = [Int: @Sendable (Life) -> Void]

    private let plan: Plan
    private let downloads: Plan
    private let counts = NIOLockedValueBox((all: 0, downloads: 0))

    /// - Parameter downloads: what happens at awaits within a download, which are few among all.
    init(_ plan: Plan, downloads: Plan) {
        self.plan = plan
        self.downloads = downloads
    }

    func passed(_ life: Life, isDownload: Bool) {
        let (number, inDownloads) = counts.withLockedValue { counts in
            counts.all += 1
            if isDownload { counts.downloads += 1 }
            return counts
        }
        plan[number]?(life)
        if isDownload { downloads[inDownloads]?(life) }
    }
}

/// The wall clock of one replica: the world's time, set wrong by as much as the seed says. What is slept for is not.
struct ReplicaClock: WallClock {
    let life: Life
    let clock: MockClock

    func now() -> Timestamp { life.now }

    func sleep(for duration: Duration) async throws {
        if life.isDead { throw CancellationError() }
        try await clock.sleep(for: duration)
        do { try await life.pass() } catch { throw CancellationError() }
    }
}
