// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle
public import ClipStore
import Dispatch
import FoundationEssentials
import GRDB
import NIOConcurrencyHelpers

/// The embedded store: one SQLite file in WAL mode with one writer, every commit synced to the disk.
public final class SQLiteClipStore: ClipStore {
    /// The writer's; the default is 2 MiB.
    private static let cacheKibibytes = 64 << 10
    /// When the log is written into the database, in pages of 4 KiB; the default is 1,000. Behind deliveries it is
    /// soon, because senders wait meanwhile. Behind everything else it is later: what changes here and there in a large
    /// database is written less often then. Only the writer itself may do it: SQLite before 3.51.3 can lose pages when
    /// another connection does while one commits (https://www.sqlite.org/wal.html#walresetbug).
    private enum LogPagesMax: Int {
        case deliveries = 1_500
        case others = 8_192
    }

    private let pool: DatabasePool
    private let schema: SQLiteSchema
    private let path: String
    private let deliveries = GroupCommitQueue(batchMax: 512)
    private let deliveryWriter = DispatchQueue(label: "clipbridge.deliveries")
    private let turns = WriterTurns()
    private let waiting = WaitingDeliveries()
    private let bodies: RecentBodies
    private let versions = NIOLockedValueBox<(data: Int64?, schema: Int64?)?>(nil)
    private let ownership = NIOLockedValueBox<DatabaseQueue?>(nil)

    /// Opens or creates the file.
    /// - Throws: `StoreError` when the file can not be opened.
    public convenience init(path: String, clipsTable: SQLName, uidColumn: SQLName) throws {
        try self.init(path: path, clipsTable: clipsTable, uidColumn: uidColumn, bodies: RecentBodies())
    }

    /// - Parameter bodiesPerRun: how many deliveries' bodies go into their index together; few, so that a test sees it.
    package convenience init(path: String, clipsTable: SQLName, uidColumn: SQLName, bodiesPerRun: Int) throws {
        try self.init(
            path: path, clipsTable: clipsTable, uidColumn: uidColumn, bodies: RecentBodies(runLength: bodiesPerRun))
    }

    private init(path: String, clipsTable: SQLName, uidColumn: SQLName, bodies: RecentBodies) throws {
        self.bodies = bodies
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.label = "clipbridge"
        self.path = path
        self.schema = SQLiteSchema(table: clipsTable, uidColumn: uidColumn)
        do {
            self.pool = try DatabasePool(path: path, configuration: configuration)
            // GRDB sets NORMAL when it opens a WAL pool, and NORMAL does not sync a commit: an acknowledged delivery
            // could be gone after a power cut.
            // A commit touches a few pages of every index. With the default they would be read again and again.
            try pool.writeWithoutTransaction {
                try $0.execute(sql: "PRAGMA synchronous = FULL; PRAGMA cache_size = -\(Self.cacheKibibytes)")
            }
        } catch {
            throw SQLiteClipStore.storeError(error, "the database \"\(path)\" can not be opened")
        }
    }

    /// What the writer's connection is really set to; 2 is FULL.
    package func synchronousSetting() async throws -> Int? {
        try await pool.writeWithoutTransaction { try Int.fetchOne($0, sql: "PRAGMA synchronous") }
    }

    /// Claims the file for this process until it ends, however it ends. Only one bridge works on a file: leases and
    /// the spool are then all this process' own.
    /// - Throws: `StoreError` with `inUse` when another process has it.
    public func takeOwnership() async throws {
        var configuration = Configuration()
        configuration.busyMode = .immediateError
        configuration.allowsUnsafeTransactions = true
        do {
            // One file has one lock, by whatever links it is come to.
            let file = URL(filePath: path).resolvingSymlinksInPath().path(percentEncoded: false)
            let lock = try DatabaseQueue(path: file + "-lock", configuration: configuration)
            // An open exclusive transaction is a lock that the system itself drops with the process.
            try lock.inDatabase { try $0.execute(sql: "BEGIN EXCLUSIVE") }
            ownership.withLockedValue { $0 = lock }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
            throw StoreError(.inUse, "the database \"\(path)\" is in use by another clipbridge process")
        } catch {
            throw SQLiteClipStore.storeError(error, "the database \"\(path)\" can not be claimed")
        }
    }

    public func migrate() async throws {
        try await mapped("the schema could not be migrated") {
            try await self.pool.writeWithoutTransaction { database in
                // A table that is made anew is dropped first, which would remove what an application's foreign keys
                // tie to it, and on some systems writes zeros over all of it. Its renaming would fail over any view or
                // trigger of the application's that is broken.
                let zeroes = try Int.fetchOne(database, sql: "PRAGMA secure_delete") ?? 0
                func set(foreignKeys: Int, legacyAlterTable: Int, secureDelete: Int) throws {
                    try database.execute(
                        sql: """
                            PRAGMA foreign_keys = \(foreignKeys);
                            PRAGMA legacy_alter_table = \(legacyAlterTable);
                            PRAGMA secure_delete = \(secureDelete);
                            """)
                }
                try set(foreignKeys: 0, legacyAlterTable: 1, secureDelete: 0)
                defer { try? set(foreignKeys: 1, legacyAlterTable: 0, secureDelete: zeroes) }
                try database.inTransaction(.immediate) {
                    try self.schema.migrate(database)
                    return .commit
                }
            }
        }
    }

    public func checkReady() async throws {
        try await mapped("the store does not answer") {
            try await self.pool.read { try self.schema.checkVersion($0) }
        }
    }

    public func read<Value: Sendable>(
        _ body: @Sendable @escaping (SQLiteTransaction) throws -> Value
    ) async throws -> Value {
        try await mapped("the store could not be read") {
            try await self.pool.read { try body(self.transaction(in: $0)) }
        }
    }

    public func write<Value: Sendable>(
        _ body: @Sendable @escaping (SQLiteTransaction) throws -> Value
    ) async throws -> Value {
        try await mapped("the store could not be written") {
            try await self.turns.write {
                do {
                    return try await self.attempt(body, usesSavepoints: false)
                } catch is SQLiteTransaction.NeedsSavepoints {
                    return try await self.attempt(body, usesSavepoints: true)
                }
            }
        }
    }

    private func attempt<Value: Sendable>(
        _ body: @Sendable @escaping (SQLiteTransaction) throws -> Value, usesSavepoints: Bool
    ) async throws -> Value {
        let (value, change) = try await pool.write {
            try self.write(in: $0, logPagesMax: .others, usesSavepoints: usesSavepoints, body)
        }
        end(change)
        return value
    }

    /// The transaction is committed.
    private func end(_ change: SQLiteTransaction.Change) {
        waiting.end(change.waiting)
        bodies.end(change.bodies)
    }

    private func write<Value>(
        in database: Database, logPagesMax: LogPagesMax, usesSavepoints: Bool,
        _ body: (SQLiteTransaction) throws -> Value
    ) throws -> (Value, SQLiteTransaction.Change) {
        try database.execute(sql: "PRAGMA wal_autocheckpoint = \(logPagesMax.rawValue)")
        return try transaction(in: database, usesSavepoints: usesSavepoints).run(body)
    }

    private func transaction(in database: Database, usesSavepoints: Bool = false) -> SQLiteTransaction {
        SQLiteTransaction(
            database: database, schema: schema, waiting: waiting, bodies: bodies, usesSavepoints: usesSavepoints)
    }

    public func record(
        _ delivery: NewDelivery, onEnd: @escaping @Sendable (Result<DeliveryReceipt, any Error>) -> Void
    ) {
        guard deliveries.add(delivery, onEnd: onEnd) else { return }
        deliveryWriter.async { self.deliveries.drain(by: self.commit) }
    }

    /// On a thread of its own, which has the next batch at once when one is done.
    private func commit(_ batch: GroupCommitQueue.Batch) throws -> [DeliveryReceipt] {
        do {
            return try turns.write(deliveries: \.count) {
                let (receipts, change) = try pool.write { database in
                    try write(in: database, logPagesMax: .deliveries, usesSavepoints: false) {
                        try $0.record(batch.map { $0 })
                    }
                }
                end(change)
                return receipts
            }
        } catch let error as DatabaseError {
            throw Self.storeError(error, "the store could not be written")
        }
    }

    /// SQLite counts the commits of other connections; ours that write are one, so a change is somebody else's.
    public func foreignWritesSinceLastCall() async throws -> Bool {
        let (data, schema) = try await mapped("the store does not answer") {
            try await self.pool.writeWithoutTransaction { database in
                let schema = try Int64.fetchOne(database, sql: "PRAGMA schema_version")
                return (try Int64.fetchOne(database, sql: "PRAGMA data_version"), schema)
            }
        }
        let last = versions.withLockedValue { $0 }
        // The application may have made its table anew, without what notes new rows.
        if let last, last.schema != schema { try await write { try $0.schema.prepareClipsTable($0.database) } }
        versions.withLockedValue { $0 = (data, schema) }
        return last?.data != data
    }

    public func close() async throws {
        try pool.close()
        try ownership.withLockedValue { try $0?.close() }
    }

    private func mapped<Value: Sendable>(
        _ what: String, _ body: () async throws -> Value
    ) async throws -> Value {
        do {
            return try await body()
        } catch let error as DatabaseError {
            throw Self.storeError(error, what)
        }
    }

    /// GRDB's own text, without the arguments of the statement.
    static func storeError(_ error: any Error, _ what: String) -> StoreError {
        guard let error = error as? DatabaseError else { return StoreError(.unavailable, "\(what): \(error)") }
        let code: StoreError.Code =
            switch error.resultCode {
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: .corrupt
            default: .unavailable
            }
        return StoreError(code, "\(what): \(error.message ?? "SQLite") (SQLite \(error.extendedResultCode.rawValue))")
    }
}
