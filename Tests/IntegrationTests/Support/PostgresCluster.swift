// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// A PostgreSQL server of one test's own, to be stopped, killed and promoted; gone when the test ends.
final class PostgresCluster: Sendable {
    let folder: String
    let port: Int
    private let world: World
    private let programs: String

    private init(_ world: World, folder: String, port: Int) throws {
        self.world = world
        self.folder = folder
        self.port = port
        programs = try #require(
            ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_POSTGRES_BIN"],
            "these tests need PostgreSQL's programs: run them by deploy/test.sh")
    }

    /// Runs `body` beside a running server, and ends it however that ends.
    static func with(
        _ world: World, settings: [String] = [], _ body: (PostgresCluster) async throws -> Void
    ) async throws {
        try await with(
            world, settings: settings,
            made: { cluster in
                try await cluster.command(
                    "initdb", "--username=clipbridge", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8",
                    "--no-sync")
            }, body)
    }

    /// Beside a standby that follows this server.
    func withStandby(_ body: (PostgresCluster) async throws -> Void) async throws {
        let port = port
        try await Self.with(
            world, settings: [],
            made: { standby in
                try await standby.command(
                    "pg_basebackup", "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync",
                    "--dbname=postgres://clipbridge@127.0.0.1:\(port)/postgres?application_name=standby")
            }, body)
    }

    private static func with(
        _ world: World, settings: [String], made: (PostgresCluster) async throws -> Void,
        _ body: (PostgresCluster) async throws -> Void
    ) async throws {
        // Outside the test's own folder, which the server's user may not enter.
        let folder = FileManager.default.temporaryDirectory.appending(path: "clipbridge-pg-\(UUID().uuidString)").path()
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let cluster = try PostgresCluster(world, folder: folder, port: try await world.freePort())
        if getuid() == 0 { try await cluster.asRoot("chown", "postgres", folder) }
        let result: Result<Void, any Error>
        do {
            try await made(cluster)
            let all =
                ["port = \(cluster.port)", "listen_addresses = '127.0.0.1'", "unix_socket_directories = ''"] + settings
            try await cluster.append(all)
            try await cluster.start()
            try await body(cluster)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await cluster.end()
        try result.get()
    }

    var url: String { "postgres://clipbridge@127.0.0.1:\(port)/postgres" }
    private var data: String { "\(folder)/data" }

    func start() async throws {
        try await command("pg_ctl", "start", "--wait", "--silent", "--log=\(folder)/log")
    }

    /// As a power failure would end it.
    func kill() async throws {
        try await command("pg_ctl", "stop", "--mode=immediate", "--silent")
    }

    /// As its administrator would stop it.
    func stop() async throws {
        try await command("pg_ctl", "stop", "--mode=fast", "--silent")
    }

    func promote() async throws {
        try await command("pg_ctl", "promote", "--wait", "--silent")
    }

    /// PgBouncer before it, which gives each transaction another session.
    func pooler(port: Int) async throws -> RunningProgram {
        let settings = [
            "[databases]", "* = host=127.0.0.1 port=\(self.port)", "[pgbouncer]", "listen_addr = 127.0.0.1",
            "listen_port = \(port)", "unix_socket_dir =", "auth_type = any", "pool_mode = transaction",
            "default_pool_size = 10",
        ]
        let lines = settings.map { "\"\($0)\"" }.joined(separator: " ")
        // With auth_type any everybody is this user.
        try await command(
            shell: "printf '%s\\n' \(lines) | sed 's/port=\(self.port)/& user=clipbridge/' > \(folder)/pooler.ini")
        let program = ["/usr/sbin/pgbouncer", "\(folder)/pooler.ini"]
        let running =
            getuid() == 0
            // Not runuser, which stays between and would be killed in its place.
            ? try world.start(
                ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] + program, of: "/usr/bin/setpriv")
            : try world.start(Array(program.dropFirst()), of: program[0])
        let url = "postgres://clipbridge@127.0.0.1:\(port)/postgres"
        try await until("the pooler") {
            try #require(running.isRunning, "pgbouncer ended: \(running.error)")
            return running.error.contains("listening on")
        }
        _ = try await WorldDatabase.psql(url, "SELECT 1", in: world)
        return running
    }

    func query(_ sql: String) async throws -> String { try await WorldDatabase.psql(url, sql, in: world) }

    func append(_ settings: [String]) async throws {
        let lines = settings.map { "\"\($0)\"" }.joined(separator: " ")
        try await command(shell: "printf '%s\\n' \(lines) >> \(data)/postgresql.conf")
    }

    func reload() async throws { try await command("pg_ctl", "reload", "--silent") }

    private func end() async {
        // One that was killed is gone already.
        let stop = "'\(programs)/pg_ctl' stop --pgdata='\(data)' --mode=immediate --silent"
        try? await command(shell: "\(stop) >/dev/null 2>&1 || true")
    }

    private func command(_ program: String, _ arguments: String...) async throws {
        let quoted = arguments.map { "'\($0)'" }.joined(separator: " ")
        try await command(
            shell: "'\(programs)/\(program)' --pgdata='\(data)' \(quoted) </dev/null >>'\(folder)/out' 2>&1")
    }

    /// PostgreSQL does not run as root.
    private func command(shell text: String) async throws {
        // A server that stays would hold what Foundation watches for the end of its parent.
        let alone = "for file in /proc/$BASHPID/fd/*; do n=${file##*/}; ((n > 2)) && eval \"exec $n>&-\"; done"
        let shell = ["-c", "umask 077; cd /; (\(alone); \(text))"]
        let run =
            getuid() == 0
            ? try await world.run(["-u", "postgres", "--", "/bin/bash"] + shell, of: "/usr/sbin/runuser")
            : try await world.run(shell, of: "/bin/bash")
        let log = FileManager.default.contents(atPath: "\(folder)/out").map { String(decoding: $0, as: UTF8.self) }
        try #require(run.status == 0, "\(text): \(run.error) \(log ?? "")")
    }

    private func asRoot(_ program: String, _ arguments: String...) async throws {
        let run = try await world.run(arguments, of: "/usr/bin/\(program)")
        try #require(run.status == 0, "\(run.error)")
    }
}
