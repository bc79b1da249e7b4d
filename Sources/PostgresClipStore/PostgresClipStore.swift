// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle
public import ClipStore
public import Logging
import NIOConcurrencyHelpers

/// The shared store: any number of processes on one PostgreSQL database, which alone decides who has what until when.
///
/// A transaction's body runs on the thread of its connection and blocks it; connections are few, and each has a thread
/// of its own. Deliveries have one for themselves, so that no other work keeps a webhook waiting.
public final class PostgresClipStore: ClipStore {
    /// Whose clock says when a lease has run out.
    public enum TimeSource: Sendable {
        /// The database server's, the same for all replicas.
        case server
        /// Whoever calls: for tests that own time.
        case caller
    }

    private struct State: Sendable {
        var abilities = PostgresSchema.Abilities()
        /// This process has had the schema right: a later version's migration beside it does not stop it.
        var isMigrated = false
        var isListening = false
        /// Other programs may have written since the last look.
        var hasForeignWrites = true
        var lookedAt: ContinuousClock.Instant?
    }

    private let url: String
    private let schema: PostgresSchema
    private let timeSource: TimeSource
    private let logger: Logger
    private let pool: PostgresPool
    private let deliverySession: PostgresSession
    private let listener: PostgresSession
    private let deliveries = GroupCommitQueue(batchMax: 128)
    private let state = NIOLockedValueBox(State())
    /// Names this process in notifications, which come back to it too.
    private let instance = String(UInt64.random(in: .min ... .max), radix: 36)

    /// Nothing is connected yet.
    /// - Parameters:
    ///   - url: as libpq takes it: `postgres://…`, several hosts with commas.
    ///   - connections: for everything but deliveries and notifications, which have one each.
    public init(
        url: String, clipsTable: SQLName, uidColumn: SQLName, connections: Int = 4, timeSource: TimeSource = .server,
        logger: Logger
    ) {
        self.url = url
        self.schema = PostgresSchema(table: clipsTable, uidColumn: uidColumn)
        self.timeSource = timeSource
        self.logger = logger
        pool = PostgresPool(url: url, size: connections, label: "clipbridge.postgres")
        deliverySession = PostgresSession(url: url, label: "clipbridge.postgres deliveries")
        listener = PostgresSession(url: url, label: "clipbridge.postgres listener")
    }

    /// What is wrong with a URL, in words; nil where it can be used.
    public static func fault(ofURL url: String) -> String? { PostgresConnection.fault(ofURL: url) }

    public var isShared: Bool { true }

    public func migrate() async throws {
        let abilities = try await mapped("the schema could not be migrated") { [schema] in
            try await self.pool.withSession { try await $0.run { try schema.migrate($0) } }
        }
        state.withLockedValue { ($0.abilities, $0.isMigrated) = (abilities, true) }
        for notice in abilities.notices {
            logger.warning("clips table is only partly ours", metadata: ["error.message": "\(notice)"])
        }
    }

    public func checkReady() async throws {
        let toleratesNewer = state.withLockedValue(\.isMigrated)
        try await mapped("the store does not answer") { [schema] in
            try await self.pool.withSession {
                try await $0.run { try schema.checkVersion($0, toleratesNewer: toleratesNewer) }
            }
        }
    }

    public func read<Value: Sendable>(
        _ body: @Sendable @escaping (PostgresTransaction) throws -> Value
    ) async throws -> Value {
        let context = context(isReadOnly: true)
        return try await mapped("the store could not be read") {
            try await self.pool.withSession { try await $0.transaction(context, body) }
        }
    }

    public func write<Value: Sendable>(
        _ body: @Sendable @escaping (PostgresTransaction) throws -> Value
    ) async throws -> Value {
        let context = context(isReadOnly: false)
        return try await mapped("the store could not be written") {
            try await self.pool.withSession { try await $0.transaction(context, body) }
        }
    }

    public func record(
        _ delivery: NewDelivery, onEnd: @escaping @Sendable (Result<DeliveryReceipt, any Error>) -> Void
    ) {
        if deliveries.add(delivery, onEnd: onEnd) { Task { await deliveries.drain(by: commit) } }
    }

    private func commit(_ batch: GroupCommitQueue.Batch) async throws -> [DeliveryReceipt] {
        let context = context(isReadOnly: false)
        return try await mapped("the delivery could not be stored") {
            try await deliverySession.transaction(context) { try Self.record(batch.map { $0 }, in: $0) }
        }
    }

    /// In the order of their hashes, so that two replicas that store the same bodies do not wait for each other.
    private static func record(
        _ batch: [NewDelivery], in transaction: PostgresTransaction
    ) throws -> [DeliveryReceipt] {
        try transaction.lock(batch.compactMap(\.signal?.uid))
        let order = batch.indices.sorted {
            batch[$0].bodySHA256.lexicographicallyPrecedes(batch[$1].bodySHA256)
                || (batch[$0].bodySHA256 == batch[$1].bodySHA256 && $0 < $1)
        }
        var receipts: [Int: DeliveryReceipt] = [:]
        for index in order { receipts[index] = try LedgerScript.record(batch[index], in: transaction) }
        return batch.indices.compactMap { receipts[$0] }
    }

    public func close() async throws {
        await pool.close()
        await deliverySession.close()
        await listener.close()
    }

    private func context(isReadOnly: Bool) -> TransactionContext {
        TransactionContext(
            schema: schema, abilities: state.withLockedValue(\.abilities), isReadOnly: isReadOnly,
            readsClock: timeSource == .server, instance: instance)
    }

    private func mapped<Value: Sendable>(_ what: String, _ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as PostgresError {
            throw error.storeError(what)
        } catch is PostgresTransaction.NeedsSavepoints {
            throw StoreError(.unavailable, "\(what): the clips table refuses a row")
        }
    }
}

extension PostgresClipStore: SharedTexts {
    public func withText<Value: Sendable>(
        _ name: String, _ body: @Sendable @escaping (inout String?, Timestamp) throws -> Value
    ) async throws -> Value {
        try await write { transaction in
            let (before, now) = try transaction.text(name)
            var text = before
            let value = try body(&text, now ?? SystemWallClock().now())
            if text != before { try transaction.put(text, name) }
            return value
        }
    }
}

// MARK: Other processes

extension PostgresClipStore {
    /// How often other programs' rows are looked for where nobody tells of them.
    private static let lookInterval = Duration.seconds(5)
    /// What was missed, because the connection was away for a moment or a clip was held, is found by this look.
    private static let lookIntervalNotified = Duration.seconds(10)
    /// How often the store is looked at where no notification comes through.
    private static let pollInterval = Duration.seconds(1)

    public func foreignWritesSinceLastCall() async throws -> Bool {
        state.withLockedValue { state in
            let isTold = state.abilities.isNotified && state.isListening
            let interval = isTold ? Self.lookIntervalNotified : Self.lookInterval
            let isDue = state.lookedAt.map { .now - $0 >= interval } ?? true
            guard state.hasForeignWrites || isDue else { return false }
            (state.hasForeignWrites, state.lookedAt) = (false, .now)
            return true
        }
    }

    public func watch(_ onChange: @escaping @Sendable () -> Void) async {
        while !Task.isCancelled {
            do {
                let isPooled = try await listener.run { connection in
                    if !connection.isPooled { try connection.script("LISTEN \(PostgresSchema.channel)") }
                    return connection.isPooled
                }
                if isPooled {
                    logger.info("the database is behind a pooler, changes of other replicas are polled for")
                    return try await poll(onChange)
                }
                try await listen(onChange)
            } catch {
                state.withLockedValue { $0.isListening = false }
                if Task.isCancelled { return }
                logger.debug("listening for notifications failed", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: Self.pollInterval)
            }
        }
    }

    private func poll(_ onChange: () -> Void) async throws {
        while true {
            try await Task.sleep(for: Self.pollInterval)
            onChange()
        }
    }

    private func listen(_ onChange: () -> Void) async throws {
        // What came while nobody listened.
        state.withLockedValue { ($0.isListening, $0.hasForeignWrites) = (true, true) }
        onChange()
        let schema = state.withLockedValue(\.abilities.schema)
        while true {
            try Task.checkCancellation()
            // In short waits, because a blocked thread hears of no cancellation.
            for text in try await listener.run({ try $0.notifications(atMost: .seconds(1)) }) {
                let prefix = "\(schema) "
                guard text.hasPrefix(prefix) else { continue }
                let words = text.dropFirst(prefix.count).split(separator: " ")
                switch words.first {
                case "rows": state.withLockedValue { $0.hasForeignWrites = true }
                case "stored" where words.last.map(String.init) != instance: onChange()
                default: break
                }
            }
        }
    }
}
