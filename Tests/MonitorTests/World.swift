// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import Logging
import Monitor
import NIOConcurrencyHelpers
import SQLiteClipStore
import ServiceLifecycle
import Testing

/// A monitor with its store, a performer that follows a script, and a clock that stands still.
struct World<Store: ClipStore>: Sendable {
    /// Loops of an idle monitor that sleep on the clock: decisions, work, leases, other programs' writes, tidying up.
    static var idleSleepers: Int { 5 }

    let clock = MockClock()
    let store: Store
    let performer: ScriptedPerformer
    let monitor: Monitor<Store>

    init(
        _ store: Store, transfersMax: Int = 4,
        _ answer: @escaping ScriptedPerformer.Answer = { request, _ in
            .observed(Observation(status: request.status))
        }
    ) {
        let configuration = MonitorConfiguration(policy: LifecyclePolicy(), owner: "one", transfersMax: transfersMax)
        self.store = store
        self.performer = ScriptedPerformer(answer)
        self.monitor = Monitor(
            store: store, performer: performer, configuration: configuration, clock: clock,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func script(_ policy: LifecyclePolicy = LifecyclePolicy()) -> LedgerScript {
        LedgerScript(policy: policy, now: clock.now())
    }

    // MARK: Running

    /// Runs the monitor beside `body`, and ends it without ceremony.
    func run<Value: Sendable>(_ body: @Sendable @escaping () async throws -> Value) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                try await monitor.run()
                return nil
            }
            let value = try await body()
            group.cancelAll()
            try await group.waitForAll()
            return value
        }
    }

    /// Runs the monitor as a service beside `body`, which may ask it to stop.
    func serve(_ body: @Sendable @escaping (ServiceGroup) async throws -> Void) async throws {
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: monitor)], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            try await body(group)
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    /// Everything that is due now is done or running.
    func settle() async { await clock.waitForSleepers(Self.idleSleepers) }

    /// Moves the clock from deadline to deadline until the condition holds.
    func passTime(
        sourceLocation: SourceLocation = #_sourceLocation, until condition: @Sendable () async throws -> Bool
    ) async throws {
        try await eventually(sourceLocation: sourceLocation) {
            if try await condition() { return true }
            await settle()
            clock.advanceToNextDeadline()
            return false
        }
    }

    /// Moves the clock by small steps, and lets what they wake run.
    func pass(_ duration: Duration, step: Duration = .seconds(1)) async {
        let end = clock.now() + duration
        while clock.now() < end {
            await settle()
            clock.advance(by: step)
        }
        await settle()
    }

    // MARK: Clips

    func register(_ uid: ClipUID, _ status: ClipStatus = .uploading) async throws {
        let script = script()
        let signal = Signal(uid: uid, source: .operator, status: status)
        _ = try await store.write { try script.submit(signal, registers: true, in: $0) }
    }

    func deliver(_ uid: ClipUID, _ status: ClipStatus, body: String) async throws {
        var hash = Array(body.utf8.prefix(32))
        hash += [UInt8](repeating: 0, count: 32 - hash.count)
        let delivery = NewDelivery(
            receivedAt: clock.now(), signedAt: clock.now(), signatureHeader: "time=1,sig1=0", body: Array(body.utf8),
            bodySHA256: hash, uid: uid, outcome: .accepted,
            signal: Signal(uid: uid, source: .webhook, status: status))
        _ = try await store.record(delivery)
        monitor.wake()
    }

    func clip(_ uid: ClipUID) async throws -> ClipRecord? { try await store.read { try $0.clip(uid) } }
    func status(_ uid: ClipUID) async throws -> ClipStatus? { try await clip(uid)?.status }
    func work(_ uid: ClipUID) async throws -> Work? { try await store.read { try $0.work(of: uid) } }
    func history(_ uid: ClipUID) async throws -> [LedgerEntry] { try await store.read { try $0.history(of: uid) } }

    func statuses(_ uid: ClipUID) async throws -> [ClipStatus?] {
        try await history(uid).filter { $0.outcome == .applied }.map(\.to)
    }
}

func uid(_ number: Int) -> ClipUID {
    let digits = String(number)
    return ClipUID(String(repeating: "0", count: 32 - digits.count) + digits)!
}

extension ActionReporter {
    /// What a transfer that goes well does.
    func transferDone(_ request: ActionRequest) async -> ActionOutcome {
        let steps: [ClipStatus] = [.r2Uploading, .complete]
        for status in steps {
            guard (try? await report(Observation(status: status), for: request)) == true else { return .abandoned }
        }
        return .reported
    }
}

/// A folder for one test's database, removed with the last reference.
final class Folder: Sendable {
    let path = NSTemporaryDirectory() + "clipbridge-monitor-\(UUID().uuidString)"

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    var database: String { "\(path)/clips.sqlite" }

    func open() async throws -> SQLiteClipStore {
        let store = try SQLiteClipStore(
            path: database, clipsTable: try #require(SQLName("clips")),
            uidColumn: try #require(SQLName("cloudflare_uid")))
        try await store.migrate()
        return store
    }
}

/// A memory store whose writes can be made to fail, and that tells of foreign writes only once, as SQLite does.
final class FlakyStore: ClipStore {
    struct Away: Error {}

    let memory = MemoryClipStore()
    private let state = NIOLockedValueBox<(failures: Int, foreign: Bool, isAway: Bool)>((0, false, false))

    func failNextWrites(_ count: Int) { state.withLockedValue { $0.failures = count } }
    func setAway(_ isAway: Bool) { state.withLockedValue { $0.isAway = isAway } }
    func tellOfForeignWrite() { state.withLockedValue { $0.foreign = true } }

    func migrate() async throws {}
    func checkReady() async throws {}
    func close() async throws {}

    func read<Value: Sendable>(
        _ body: @Sendable @escaping (MemoryTransaction) throws -> Value
    ) async throws -> Value { try await memory.read(body) }

    func write<Value: Sendable>(
        _ body: @Sendable @escaping (MemoryTransaction) throws -> Value
    ) async throws -> Value {
        let fails = state.withLockedValue { state in
            defer { state.failures = max(0, state.failures - 1) }
            return state.isAway || state.failures > 0
        }
        if fails { throw Away() }
        return try await memory.write(body)
    }

    func foreignWritesSinceLastCall() async throws -> Bool {
        state.withLockedValue { state in
            defer { state.foreign = false }
            return state.foreign
        }
    }

    func record(
        _ delivery: NewDelivery, onEnd: @escaping @Sendable (Result<DeliveryReceipt, any Error>) -> Void
    ) { memory.record(delivery, onEnd: onEnd) }
}
