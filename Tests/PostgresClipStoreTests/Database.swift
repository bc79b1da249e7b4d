// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipStore
import Foundation
import Logging
import NIOConcurrencyHelpers
import Testing

@testable import PostgresClipStore

/// A schema of its own in the tests' database, removed at the end.
struct TestDatabase: Sendable {
    let name: String
    /// With the schema as the place where everything is looked for and made.
    let url: String

    /// The server that `deploy/test.sh` has started.
    static func server() throws -> String {
        try #require(
            ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_POSTGRES"],
            "these tests need PostgreSQL: run them by deploy/test.sh")
    }

    static func with(_ body: (TestDatabase) async throws -> Void) async throws {
        let name = "t\(UUID().uuidString.replacing("-", with: "").lowercased())"
        let server = try Self.server()
        let admin = PostgresSession(url: server, label: "tests")
        try await admin.run { _ = try $0.script("CREATE SCHEMA \(name)") }
        let result = await Result {
            try await body(TestDatabase(name: name, url: "\(server)?options=-csearch_path%3D\(name)"))
        }
        try await admin.run { _ = try $0.script("DROP SCHEMA \(name) CASCADE") }
        await admin.close()
        try result.get()
    }

    func store(
        table: String = "clips", column: String = "cloudflare_uid", url: String? = nil,
        timeSource: PostgresClipStore.TimeSource = .caller, connections: Int = 4
    ) throws -> PostgresClipStore {
        PostgresClipStore(
            url: url ?? self.url, clipsTable: try #require(SQLName(table)), uidColumn: try #require(SQLName(column)),
            connections: connections, timeSource: timeSource, logger: Logger(label: "tests"))
    }

    /// As another program would.
    func execute(_ sql: String) async throws {
        let session = PostgresSession(url: url, label: "application")
        // What marks our own sessions is taken off.
        try await session.run { _ = try $0.script("RESET clipbridge.writer; \(sql)") }
        await session.close()
    }

    /// A statement that stands in no transaction.
    func execute(alone sql: String) async throws {
        let session = PostgresSession(url: url, label: "application")
        try await session.run { _ = try $0.script(sql) }
        await session.close()
    }

    /// Runs `body` while a transaction of another program holds what the statement locks.
    func whileHolding(_ sql: String, _ body: () async throws -> Void) async throws {
        let session = PostgresSession(url: url, label: "application")
        try await session.run { _ = try $0.script("BEGIN; \(sql)") }
        let result = await Result { try await body() }
        try await session.run { _ = try $0.script("ROLLBACK") }
        await session.close()
        try result.get()
    }

    /// One column of a query, as text.
    func column(_ sql: String) async throws -> [String?] {
        let session = PostgresSession(url: url, label: "application")
        let found = try await session.run { try $0.execute(sql).rows.map { $0.text("x") } }
        await session.close()
        return found
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}

/// Keeps what it is told.
final class Said: Sendable {
    private let kept = NIOLockedValueBox<[String]>([])
    var words: [String] { kept.withLockedValue { $0 } }
    func say(_ word: String) { kept.withLockedValue { $0.append(word) } }
}
