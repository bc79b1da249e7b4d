// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipStore
import Foundation
import Logging
import PostgresClipStore
import SQLiteClipStore

/// Where clips are kept.
enum Database: Sendable, Equatable {
    /// A file of this machine, for one process.
    case sqlite(path: String)
    /// A server, for any number of processes; the URL as libpq takes it.
    case postgres(url: String)

    /// Nil for what is neither.
    init?(_ text: String) {
        if text.hasPrefix("postgres://") || text.hasPrefix("postgresql://") {
            guard PostgresClipStore.fault(ofURL: text) == nil else { return nil }
            self = .postgres(url: text)
            return
        }
        guard text.hasPrefix("sqlite:") else { return nil }
        let path = text.dropFirst("sqlite:".count)
        let plain = path.hasPrefix("//") ? path.dropFirst(2) : path
        guard !plain.isEmpty, !plain.contains(":memory:") else { return nil }
        self = .sqlite(path: String(plain))
    }

    /// As people call it.
    var kind: String {
        switch self {
        case .sqlite: "SQLite"
        case .postgres: "PostgreSQL"
        }
    }

    /// Opens the file, or makes ready to connect.
    func open(clipsTable: SQLName, uidColumn: SQLName, logger: Logger) throws -> any ClipStore {
        switch self {
        case .sqlite(let path):
            try SQLiteClipStore(path: path, clipsTable: clipsTable, uidColumn: uidColumn)
        case .postgres(let url):
            PostgresClipStore(url: url, clipsTable: clipsTable, uidColumn: uidColumn, logger: logger)
        }
    }
}

extension Settings {
    func openStore(logger: Logger) throws -> any ClipStore {
        try database.open(clipsTable: clipsTable, uidColumn: uidColumn, logger: logger)
    }
}

extension Logger {
    /// For a command that says itself what there is to say.
    static let silent = Logger(label: "clipbridge") { _ in SwiftLogNoOpLogHandler() }
}
