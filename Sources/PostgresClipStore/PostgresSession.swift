// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import Dispatch

/// Runs an actor's jobs on a dispatch queue: libpq's calls block, and may not hold up the cooperative pool.
final class DispatchQueueExecutor: SerialExecutor {
    private let queue: DispatchQueue

    init(label: String) { queue = DispatchQueue(label: label) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
}

/// What one transaction is run with.
struct TransactionContext: Sendable {
    var schema: PostgresSchema
    var abilities: PostgresSchema.Abilities
    var isReadOnly: Bool
    /// By the server's clock; else by the caller's.
    var readsClock: Bool
    /// Names this process to the other replicas.
    var instance: String
}

/// One connection, on an executor of its own; opened when it is needed, and anew when it was lost.
actor PostgresSession {
    private nonisolated let executor: DispatchQueueExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// How often a transaction is run in all when it was in another one's way.
    private static let triesMax = 5
    private static let backoffMax = Duration.seconds(2)

    private let url: String
    private var connection: PostgresConnection?
    private var refusal: (error: PostgresError, until: ContinuousClock.Instant)?
    private var backoff = Duration.milliseconds(50)

    init(url: String, label: String) {
        self.url = url
        executor = DispatchQueueExecutor(label: label)
    }

    /// Runs `body` on the connection, outside any transaction.
    func run<Value: Sendable>(_ body: @Sendable (PostgresConnection) throws -> Value) throws -> Value {
        let connection = try connected()
        defer { if connection.isLost { self.connection = nil } }
        return try body(connection)
    }

    /// Runs `body` in a transaction, again where it was in another one's way, or where an idle connection turns out to
    /// be lost. What it returns is committed.
    func transaction<Value: Sendable>(
        _ context: TransactionContext, _ body: @Sendable (PostgresTransaction) throws -> Value
    ) throws -> Value {
        var tries = 1
        var usesSavepoints = false
        var mayReconnect = connection != nil
        while true {
            do {
                return try run { [usesSavepoints] connection in
                    try Self.attempt(connection, context, usesSavepoints: usesSavepoints, body)
                }
            } catch is PostgresTransaction.NeedsSavepoints where !usesSavepoints {
                usesSavepoints = true
            } catch let failure as AttemptFailure {
                let error = failure.error
                if error.isContention, tries < Self.triesMax {
                    tries += 1
                } else if error.isConnectionLost || error.isStatementGone, !failure.isOutcomeUnknown, mayReconnect {
                    mayReconnect = false
                } else {
                    throw error
                }
            }
        }
    }

    func close() { connection = nil }

    /// Whether it was in the commit that the server was lost: then nobody knows what became of it.
    private struct AttemptFailure: Error {
        var error: PostgresError
        var isOutcomeUnknown: Bool
    }

    private static func attempt<Value: Sendable>(
        _ connection: PostgresConnection, _ context: TransactionContext, usesSavepoints: Bool,
        _ body: (PostgresTransaction) throws -> Value
    ) throws -> Value {
        var isCommitting = false
        do {
            let mode =
                context.isReadOnly
                ? "ISOLATION LEVEL REPEATABLE READ READ ONLY" : "ISOLATION LEVEL READ COMMITTED READ WRITE"
            let clock = try connection.begin(mode).row?.time("now")
            let transaction = PostgresTransaction(
                connection, schema: context.schema, abilities: context.abilities,
                now: context.readsClock ? clock : nil, isReadOnly: context.isReadOnly,
                usesSavepoints: usesSavepoints)
            let value = try body(transaction)
            try transaction.finish(instance: context.instance)
            isCommitting = true
            // A constraint that is looked at only now may refuse a row.
            let ended = try connection.script("COMMIT")
            guard ended.command == "COMMIT" else {
                throw PostgresError(
                    state: "25000", message: "the transaction was rolled back instead of committed",
                    isConnectionLost: false)
            }
            return value
        } catch {
            if !connection.isLost { connection.rollBack() }
            guard let error = error as? PostgresError else { throw error }
            if isCommitting, error.isRefusedRow, !usesSavepoints { throw PostgresTransaction.NeedsSavepoints() }
            throw AttemptFailure(error: error, isOutcomeUnknown: isCommitting && error.isConnectionLost)
        }
    }

    /// While the server is away, only the first call in a while waits to hear that.
    private func connected() throws -> PostgresConnection {
        if let connection { return connection }
        if let refusal, .now < refusal.until { throw refusal.error }
        do throws(PostgresError) {
            let opened = try PostgresConnection(url)
            (connection, refusal, backoff) = (opened, nil, .milliseconds(50))
            return opened
        } catch {
            refusal = (error, .now + backoff)
            backoff = min(backoff * 2, Self.backoffMax)
            throw error
        }
    }
}
