// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import NIOConcurrencyHelpers

/// A replica's way to the store that all share: every call may fail, before or after it took effect, and every commit
/// is looked at.
final class SimulatedStore<Base: ClipStore>: ClipStore {
    typealias Transaction = SimulatedTransaction<Base.Transaction>

    private let base: Base
    private let life: Life
    private let world: WorldState
    private let deliveries = GroupCommitQueue(batchMax: 512)
    private let seen = NIOLockedValueBox<Set<[UInt8]>>([])

    init(base: Base, life: Life, world: WorldState) {
        self.base = base
        self.life = life
        self.world = world
    }

    var isShared: Bool { world.scenario.replicas > 1 }

    func migrate() async throws {}
    func checkReady() async throws {}
    func close() async throws {}

    func foreignWritesSinceLastCall() async throws -> Bool {
        try await life.pass()
        return try await Scheduler.shared.exclusively { try await base.foreignWritesSinceLastCall() }
    }

    func watch(_ onChange: @escaping @Sendable () -> Void) async {
        guard isShared else { return }
        world.hub.add(life.owner, onChange)
        while !Task.isCancelled { try? await world.clock.sleep(for: .seconds(86_400)) }
        world.hub.remove(life.owner)
    }

    func read<Value: Sendable>(_ body: @Sendable @escaping (Transaction) throws -> Value) async throws -> Value {
        try await begin()
        let (life, world) = (life, world)
        let value = try await Scheduler.shared.exclusively {
            try await base.read { try body(Transaction($0, life: life, world: world)) }
        }
        try await life.pass()
        return value
    }

    func write<Value: Sendable>(_ body: @Sendable @escaping (Transaction) throws -> Value) async throws -> Value {
        try await begin()
        let value = try await commit(body)
        try await life.pass()
        if world.strikes(.lostCommitAnswer) {
            life.trouble()
            throw StoreError(.unavailable, "the commit's answer was lost")
        }
        return value
    }

    private func begin() async throws {
        try await life.pass()
        if world.dice.chance(0.2) {
            try? await world.clock.sleep(for: world.dice.duration(0.001...0.02))
            try await life.pass()
        }
        if world.strikes(.storeError) {
            life.trouble()
            throw StoreError(.unavailable, "the store is away")
        }
    }

    private func commit<Value: Sendable>(
        _ body: @Sendable @escaping (Transaction) throws -> Value
    ) async throws -> Value {
        let (life, world) = (life, world)
        let isLost = world.scenario.variant == .loseCommit && world.dice.chance(0.1)
        do {
            let (value, changes) = try await Scheduler.shared.exclusively {
                try await base.write { transaction in
                    let simulated = Transaction(transaction, life: life, world: world)
                    let value = try body(simulated)
                    let changes = try simulated.changes()
                    if isLost { throw LostCommit(value: value) }
                    return (value, changes)
                }
            }
            world.watch.committed(changes, by: life)
            if !changes.isEmpty { world.hub.notify(but: life.owner) }
            return value
        } catch let lost as LostCommit<Value> {
            return lost.value
        }
    }

    func record(
        _ delivery: NewDelivery, onEnd: @escaping @Sendable (Result<DeliveryReceipt, any Error>) -> Void
    ) {
        Task {
            do { onEnd(.success(try await receipt(for: delivery))) } catch { onEnd(.failure(error)) }
        }
    }

    private func receipt(for delivery: NewDelivery) async throws -> DeliveryReceipt {
        switch world.scenario.variant {
        case .acknowledgeEarly:
            Task { try await self.store(delivery) }
            return .stored(id: "0")
        case .checkThenInsert:
            let isThere = try await read { transaction in
                try transaction.storedDeliveries(after: 0, limit: .max).contains {
                    $0.bodySHA256.prefix(31) == delivery.bodySHA256.prefix(31)
                }
            }
            if isThere { return .duplicate(of: "0") }
            var salted = delivery
            salted.bodySHA256[31] = UInt8(world.dice.int(0...255))
            return try await store(salted)
        default:
            return try await store(delivery)
        }
    }

    private func store(_ delivery: NewDelivery) async throws -> DeliveryReceipt {
        try await withCheckedThrowingContinuation { continuation in
            let drains = deliveries.add(delivery) { continuation.resume(with: $0) }
            if drains { Task { await deliveries.drain(by: commit) } }
        }
    }

    private func commit(_ batch: GroupCommitQueue.Batch) async throws -> [DeliveryReceipt] {
        try await write { transaction in
            try batch.map { try LedgerScript.record($0, in: transaction) }
        }
    }
}

/// Rolls a transaction back whose result is given out all the same.
private struct LostCommit<Value: Sendable>: Error {
    var value: Value
}

/// Tells replicas of a shared store of each other's commits.
final class CommitHub: Sendable {
    private let listeners = NIOLockedValueBox<[String: @Sendable () -> Void]>([:])
    private let isLost: @Sendable () -> Bool

    init(isLost: @escaping @Sendable () -> Bool) { self.isLost = isLost }

    func add(_ owner: String, _ onChange: @escaping @Sendable () -> Void) {
        listeners.withLockedValue { $0[owner] = onChange }
    }

    func remove(_ owner: String) { listeners.withLockedValue { $0[owner] = nil } }

    func notify(but owner: String) {
        let others = listeners.withLockedValue { $0.filter { $0.key != owner }.sorted { $0.key < $1.key } }
        for (_, onChange) in others where !isLost() { onChange() }
    }
}
