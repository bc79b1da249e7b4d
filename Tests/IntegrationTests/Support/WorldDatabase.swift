// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Where a test's bridges keep their clips: a file in its folder, or a schema of its own on the tests' server, as
/// `CLIPBRIDGE_TEST_DATABASE` says. Every test runs on both.
enum WorldDatabase: Sendable {
    case sqlite
    case postgres(server: String, schema: String)

    static func make() throws -> WorldDatabase {
        let environment = ProcessInfo.processInfo.environment
        guard environment["CLIPBRIDGE_TEST_DATABASE"] == "postgres" else { return .sqlite }
        return try postgres()
    }

    /// A schema for a test that needs several processes on one store.
    static func postgres() throws -> WorldDatabase {
        let server = try #require(
            ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_POSTGRES"],
            "these tests need PostgreSQL: run them by deploy/test.sh")
        return .postgres(
            server: server, schema: "w\(UUID().uuidString.replacing("-", with: "").lowercased())")
    }

    var isPostgres: Bool { if case .postgres = self { true } else { false } }

    func url(in world: World) -> String {
        switch self {
        case .sqlite: "sqlite:\(world.path("clipbridge.sqlite"))"
        case .postgres(let server, let schema): "\(server)?options=-csearch_path%3D\(schema)"
        }
    }

    func create(in world: World) async throws {
        guard case .postgres(let server, let schema) = self else { return }
        _ = try await Self.psql(server, "CREATE SCHEMA \(schema)", in: world)
    }

    func drop(in world: World) async throws {
        guard case .postgres(let server, let schema) = self else { return }
        // Processes that were killed may still hold something for a moment.
        let drop = "SET client_min_messages = error; DROP SCHEMA \(schema) CASCADE"
        try await until("the end of the schema") { (try? await Self.psql(server, drop, in: world)) != nil }
    }

    /// The rows that a query gives, columns with bars between.
    static func psql(_ url: String, _ query: String, in world: World) async throws -> String {
        let folder = try #require(
            ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_POSTGRES_BIN"],
            "these tests need PostgreSQL's programs: run them by deploy/test.sh")
        let found = try await world.run(
            ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "-c", query, url],
            of: "\(folder)/psql")
        try #require(found.status == 0, "psql: \(found.error)")
        return found.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

extension World {
    /// The rows that a query on the database gives, as its own shell prints them.
    /// - Parameter postgres: the query in PostgreSQL's words, where they differ.
    func query(_ sqlite: String, postgres: String? = nil) async throws -> String {
        guard case .sqlite = database else {
            return try await WorldDatabase.psql(databaseURL, postgres ?? sqlite, in: self)
        }
        let found = try await run(
            ["-cmd", ".timeout 10000", path("clipbridge.sqlite"), sqlite], of: "/usr/bin/sqlite3")
        try #require(found.status == 0, "sqlite3: \(found.error)")
        return found.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
