// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipStore

/// What the server, or the way to it, refused.
struct PostgresError: Error {
    /// The five characters of the server's SQLSTATE; empty where no server answered.
    var state: String
    var message: String
    /// Nothing more can be sent on the connection.
    var isConnectionLost: Bool

    static func lost(_ message: String) -> Self { Self(state: "", message: message, isConnectionLost: true) }

    /// Two transactions were in each other's way: the same once more may succeed.
    var isContention: Bool { ["40001", "40P01"].contains(state) }

    var isMissingRight: Bool { state == "42501" }

    /// The row is not acceptable to its table: a constraint, a value that its type does not take, a check option, a
    /// trigger's own refusal, a right that is missing, or a row-level policy.
    var isRefusedRow: Bool {
        ["23", "22", "44"].contains(state.prefix(2)) || ["P0001", "42501"].contains(state)
    }

    func storeError(_ what: String) -> StoreError {
        let suffix = state.isEmpty ? "" : " (PostgreSQL \(state))"
        let code: StoreError.Code =
            switch state {
            case "42501": .forbidden
            // Authentication, and a database that is not there.
            case "28000", "28P01", "3D000": .forbidden
            case "XX001", "XX002": .corrupt
            default: .unavailable
            }
        return StoreError(code, "\(what): \(message)\(suffix)")
    }
}
