// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipStore

/// What the server, or the way to it, refused.
struct PostgresError: Error {
    /// The five characters of the server's SQLSTATE; empty where no server answered.
    var state: String
    var message: String
    /// It was raised within a function, such as a trigger's.
    var isWithinFunction = false
    /// Nothing more can be sent on the connection.
    var isConnectionLost: Bool

    static func lost(_ message: String) -> Self { Self(state: "", message: message, isConnectionLost: true) }

    /// Two transactions were in each other's way: the same once more may succeed.
    var isContention: Bool { ["40001", "40P01"].contains(state) }

    var isMissingRight: Bool { state == "42501" }

    var isLockTimeout: Bool { state == "55P03" }

    /// The session's prepared statements do not fit the schema any more.
    var isStatementGone: Bool { ["0A000", "26000"].contains(state) }

    /// The row is not acceptable to its table: a constraint, a value that its type does not take, a right that is
    /// missing, a policy, or whatever a trigger says. Not what may be otherwise the next time: a lock that was not to
    /// be had, a server that stops or has no room, transactions in each other's way, a table that is being rebuilt;
    /// but what a trigger of the table misses is the row's.
    var isRefusedRow: Bool {
        if isMissingRight || (isWithinFunction && state.hasPrefix("42")) { return true }
        return !state.isEmpty && !isConnectionLost && !isStatementGone
            && !["08", "25", "40", "42", "53", "55", "57", "58", "XX"].contains(state.prefix(2))
    }

    func storeError(_ what: String) -> StoreError {
        let suffix = state.isEmpty ? "" : " (PostgreSQL \(state))"
        let code: StoreError.Code =
            switch state {
            case "42501": .forbidden
            case "28000", "28P01": .forbidden
            case "XX001", "XX002": .corrupt
            default: .unavailable
            }
        return StoreError(code, "\(what): \(message)\(suffix)")
    }
}
