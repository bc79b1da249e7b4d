// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CTaskHooks
import Dispatch
import NIOConcurrencyHelpers
import Sandbox

/// Runs every Swift task of this process on one thread, in an order that a seed chooses.
///
/// The process has only one, because the runtime's hook has no place for a context.
final class Scheduler: TaskExecutor {
    static let shared = Scheduler()

    private struct State: Sendable {
        var jobs: [UnownedJob] = []
        /// Of the operation that nothing else may run beside.
        var urgent: [UnownedJob] = []
        var isExclusive = false
        var generator = SplitMix64(state: 0)
        var trace = Trace()
    }

    private let state = NIOLockedValueBox(State())
    private let urgentCame = DispatchSemaphore(value: 0)

    /// From now on all jobs of the process come here.
    func capture() {
        // The pointer is the runtime's own job, of which `UnownedJob` is the only member.
        unsafe task_hooks_capture { job in
            guard let job = unsafe job else { return }
            Scheduler.shared.take(unsafe unsafeBitCast(job, to: UnownedJob.self))
        }
    }

    func enqueue(_ job: consuming ExecutorJob) { take(UnownedJob(job)) }

    private func take(_ job: UnownedJob) {
        let isUrgent = state.withLockedValue { state in
            if state.isExclusive { state.urgent.append(job) } else { state.jobs.append(job) }
            return state.isExclusive
        }
        if isUrgent { urgentCame.signal() }
    }

    /// Runs an operation that may go to other threads as one step: until it is over, only its own jobs run.
    func exclusively<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        state.withLockedValue { $0.isExclusive = true }
        defer { state.withLockedValue { $0.isExclusive = false } }
        return try await body()
    }

    func begin(seed: UInt64) {
        state.withLockedValue { state in
            state.generator = SplitMix64(state: seed)
            state.trace = Trace()
        }
    }

    /// Runs one job.
    /// - Returns: false when there is none.
    func step() -> Bool {
        guard let job = next() else { return false }
        unsafe job.runSynchronously(on: asUnownedTaskExecutor())
        return true
    }

    private func next() -> UnownedJob? {
        if state.withLockedValue({ $0.isExclusive }) {
            urgentCame.wait()
            return state.withLockedValue { $0.urgent.removeFirst() }
        }
        return state.withLockedValue { state in
            guard !state.jobs.isEmpty else { return nil }
            let index = Int(state.generator.next() % UInt64(state.jobs.count))
            state.trace.add(UInt64(index) << 16 | UInt64(state.jobs.count))
            return state.jobs.remove(at: index)
        }
    }

    /// Takes note of something that happened, so that two runs can be compared.
    func note(_ text: String) {
        state.withLockedValue { state in
            for byte in text.utf8 { state.trace.add(UInt64(byte)) }
        }
    }

    /// Stands for everything that has happened since the beginning.
    var trace: UInt64 { state.withLockedValue { $0.trace.hash } }
}

/// A digest of what happens (FNV-1a).
struct Trace: Sendable {
    private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ value: UInt64) { hash = (hash ^ value) &* 0x100_0000_01B3 }
}
