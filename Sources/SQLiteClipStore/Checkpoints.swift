// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import GRDB
import NIOConcurrencyHelpers

/// Writes the log into the database beside the writer while much is written. What is left for the writer, who does the
/// same when the log has become long, is little then, and senders do not wait for all of it.
final class Checkpoints: Sendable {
    /// After so many deliveries and transactions: some hundred pages, which are written within milliseconds.
    private static let writesMax = 500

    private struct State {
        var writes = 0
        var isRunning = false
    }

    private let connection: DatabaseQueue
    private let queue = DispatchQueue(label: "clipbridge.checkpoints")
    private let state = NIOLockedValueBox(State())

    init(path: String) throws {
        var configuration = Configuration()
        configuration.label = "clipbridge checkpoints"
        connection = try DatabaseQueue(path: path, configuration: configuration)
    }

    /// To be told of what was committed.
    func note(writes count: Int) {
        let isDue = state.withLockedValue { state in
            state.writes += count
            guard state.writes >= Self.writesMax, !state.isRunning else { return false }
            state = State(isRunning: true)
            return true
        }
        if isDue { queue.async { self.run() } }
    }

    private func run() {
        // It waits for nobody and disturbs nobody. Where it fails the writer's own will say so.
        try? connection.inDatabase { try $0.execute(sql: "PRAGMA wal_checkpoint(PASSIVE)") }
        state.withLockedValue { $0.isRunning = false }
    }

    func close() throws { try connection.close() }
}
