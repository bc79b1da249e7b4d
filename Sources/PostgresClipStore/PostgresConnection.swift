// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CPostgres
import ClipLifecycle
import Glibc

/// One connection to a server that can be written to. Every call blocks its thread, and none for longer than its limit:
/// the server is told one, and a server that says nothing at all is given up on this side.
final class PostgresConnection {
    struct Limits {
        /// For one statement on the server.
        var statement = Duration.seconds(15)
        /// For a lock that somebody else holds, such as a transaction of the application.
        var lock = Duration.seconds(10)
        /// For a process that stands still in the middle of a transaction and keeps others from its clips.
        var idleInTransaction = Duration.seconds(10)
        /// What a statement may take longer than the server's own limit before the connection is given up.
        var grace = Duration.seconds(5)
    }

    private let pointer: OpaquePointer
    private var limits: Limits
    private var statements: [String: String] = [:]
    /// Statements of this session may run in any session of the server: a pooler stands between and gives each
    /// transaction another one.
    let isPooled: Bool
    private(set) var isLost = false

    /// - Parameter url: as libpq takes it, with several hosts if there are.
    init(_ url: String, limits: Limits = Limits()) throws(PostgresError) {
        self.limits = limits
        pointer = try Self.connect(url)
        guard PQsetnonblocking(pointer, 1) == 0 else {
            PQfinish(pointer)
            throw .lost("the connection can not be set to not block")
        }
        var isPooled = false
        do {
            // A pooler gives away process ids of its own.
            let said = try Self.exchange(pointer, limits) { PQsendQuery($0, "SELECT pg_backend_pid() AS pid") }
            isPooled = said.row?.integer("pid") != Int64(PQbackendPID(pointer))
        } catch {
            PQfinish(pointer)
            throw error
        }
        self.isPooled = isPooled
        if !isPooled { try script(settings("SET")) }
    }

    deinit { PQfinish(pointer) }

    var socket: Int32 { PQsocket(pointer) }
    var serverVersion: Int { Int(PQserverVersion(pointer)) }

    private static func connect(_ url: String) throws(PostgresError) -> OpaquePointer {
        // What the URL says goes before what stands above it, and after what stands below.
        let options: [(String, String)] = [
            ("connect_timeout", "4"), ("keepalives_idle", "10"), ("keepalives_interval", "5"),
            ("keepalives_count", "3"), ("tcp_user_timeout", "15000"), ("target_session_attrs", "read-write"),
            ("fallback_application_name", "clipbridge"), ("dbname", url), ("client_encoding", "UTF8"),
        ]
        let names = options.map { strdup($0.0) }
        let values = options.map { strdup($0.1) }
        defer { (names + values).forEach { free($0) } }
        let opened = PQconnectdbParams(
            names.map { UnsafePointer($0) } + [nil], values.map { UnsafePointer($0) } + [nil], 1)
        guard let opened else { throw .lost("no memory for a connection") }
        guard PQstatus(opened) == CONNECTION_OK else {
            let words = message(of: opened)
            PQfinish(opened)
            throw PostgresError(state: refusal(words), message: words, isConnectionLost: true)
        }
        // They would go to standard error as they are, what an application's triggers raise among them.
        _ = PQsetNoticeProcessor(opened, { _, _ in }, nil)
        return opened
    }

    /// libpq keeps no SQLSTATE of a connection that was refused; these words are the server's, untranslated where its
    /// messages are in English.
    private static func refusal(_ words: String) -> String {
        if words.contains("password authentication failed") || words.contains("no password supplied") { return "28P01" }
        if words.contains("pg_hba.conf") || words.contains("role \"") { return "28000" }
        return words.contains("database \"") && words.contains("does not exist") ? "3D000" : ""
    }

    /// What is wrong with a URL, in libpq's words; nil where it can be used.
    static func fault(ofURL url: String) -> String? {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(url, &message) else {
            defer { PQfreemem(message) }
            return message.map { String(cString: $0).split(separator: "\n").first.map(String.init) ?? "" } ?? ""
        }
        PQconninfoFree(options)
        return nil
    }

    /// What holds for each session, or for one transaction where sessions are a pooler's.
    private func settings(_ word: String) -> String {
        """
        \(word) statement_timeout = \(limits.statement.wholeMilliseconds);
        \(word) lock_timeout = \(limits.lock.wholeMilliseconds);
        \(word) idle_in_transaction_session_timeout = \(limits.idleInTransaction.wholeMilliseconds);
        \(word) clipbridge.writer = '1';
        \(word) bytea_output = 'hex';
        \(word) quote_all_identifiers = off;
        SELECT set_config('synchronous_commit', 'on', \(word == "SET" ? "false" : "true"))
        WHERE current_setting('synchronous_commit') = 'off';
        """
    }

    /// How long the rest of the transaction waits for a lock; nil for as long as others do.
    func setLockLimit(_ limit: Duration?) throws(PostgresError) {
        try script("SET LOCAL lock_timeout = \((limit ?? limits.lock).wholeMilliseconds)")
    }

    // MARK: Statements

    /// Begins a transaction and reads the server's clock, in one round trip.
    func begin(_ mode: String) throws(PostgresError) -> PostgresResult {
        try script(
            """
            BEGIN \(mode);
            \(isPooled ? settings("SET LOCAL") : "")
            SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
            """)
    }

    /// Gives statements more time, such as for an index on a large table, while `body` runs.
    func withStatementLimit<Value>(_ limit: Duration, _ body: () throws -> Value) rethrows -> Value {
        let usual = limits.statement
        limits.statement = limit
        defer { limits.statement = usual }
        return try body()
    }

    /// Runs statements without parameters.
    /// - Returns: the last one's answer.
    @discardableResult
    func script(_ sql: String) throws(PostgresError) -> PostgresResult {
        try exchange { PQsendQuery($0, sql) }
    }

    /// Runs one statement, which is prepared once for each session unless sessions are a pooler's.
    @discardableResult
    func execute(_ sql: String, _ parameters: [PostgresValue] = []) throws(PostgresError) -> PostgresResult {
        let bound = PostgresParameters(parameters)
        let count = Int32(parameters.count)
        if isPooled {
            return try exchange {
                PQsendQueryParams($0, sql, count, nil, bound.values, bound.lengths, bound.formats, 0)
            }
        }
        let name = try prepared(sql)
        return try exchange { PQsendQueryPrepared($0, name, count, bound.values, bound.lengths, bound.formats, 0) }
    }

    private func prepared(_ sql: String) throws(PostgresError) -> String {
        if let name = statements[sql] { return name }
        let name = "clipbridge_\(statements.count)"
        _ = try exchange { PQsendPrepare($0, name, sql, 0, nil) }
        statements[sql] = name
        return name
    }

    /// Ends a transaction that failed; a connection that can not even do that is lost.
    func rollBack() {
        do { try script("ROLLBACK") } catch { isLost = true }
    }

    // MARK: Notifications

    /// Waits for notifications, and returns what has come.
    func notifications(atMost limit: Duration) throws(PostgresError) -> [String] {
        var found: [String] = []
        try Self.wait(socket, POLLIN, until: .now + limit, else: nil)
        guard PQconsumeInput(pointer) == 1 else { throw lost() }
        while let notification = PQnotifies(pointer) {
            found.append(String(cString: notification.pointee.extra))
            PQfreemem(notification)
        }
        return found
    }

    // MARK: The exchange

    private func exchange(_ send: (OpaquePointer) -> Int32) throws(PostgresError) -> PostgresResult {
        do {
            return try Self.exchange(pointer, limits, send)
        } catch {
            // A prepared statement that the schema has changed under is none any more, and so are all of the session's.
            isLost = isLost || error.isConnectionLost || error.isStatementGone
            throw error
        }
    }

    private static func exchange(
        _ pointer: OpaquePointer, _ limits: Limits, _ send: (OpaquePointer) -> Int32
    ) throws(PostgresError) -> PostgresResult {
        let end = ContinuousClock.now + limits.statement + limits.grace
        guard send(pointer) == 1 else { throw .lost(message(of: pointer)) }
        let silent = "the server said nothing for \(limits.statement + limits.grace)"
        while true {
            let flushed = PQflush(pointer)
            if flushed == 0 { break }
            guard flushed == 1 else { throw .lost(message(of: pointer)) }
            try wait(PQsocket(pointer), POLLIN | POLLOUT, until: end, else: silent)
            guard PQconsumeInput(pointer) == 1 else { throw .lost(message(of: pointer)) }
        }
        var last: PostgresResult?
        var failure: PostgresError?
        while true {
            while PQisBusy(pointer) == 1 {
                try wait(PQsocket(pointer), POLLIN, until: end, else: silent)
                guard PQconsumeInput(pointer) == 1 else { throw .lost(message(of: pointer)) }
            }
            guard let result = PQgetResult(pointer) else { break }
            let status = PQresultStatus(result)
            if status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY {
                last = PostgresResult(result)
            } else {
                failure = failure ?? error(of: result, pointer)
                PQclear(result)
            }
        }
        if let failure { throw failure }
        guard let last else { throw .lost(message(of: pointer)) }
        return last
    }

    /// - Parameter silence: what is thrown when nothing comes; nil for nothing.
    private static func wait(
        _ socket: Int32, _ events: Int32, until end: ContinuousClock.Instant, else silence: String?
    ) throws(PostgresError) {
        while true {
            let left = end - .now
            if left <= .zero, silence == nil { return }
            if left <= .zero, let silence { throw .lost(silence) }
            var polled = pollfd(fd: socket, events: Int16(events), revents: 0)
            let found = poll(&polled, 1, Int32(clamping: left.wholeMilliseconds + 1))
            if found > 0 { return }
            guard found == 0 || errno == EINTR else { throw .lost("the connection's socket can not be waited for") }
        }
    }

    private func lost() -> PostgresError {
        isLost = true
        return .lost(Self.message(of: pointer))
    }

    private static func error(of result: OpaquePointer, _ pointer: OpaquePointer) -> PostgresError {
        func field(_ code: Character) -> String {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) } ?? ""
        }
        let state = field("C")
        let words = field("M")
        return PostgresError(
            state: state, message: words.isEmpty ? message(of: pointer) : words,
            isWithinFunction: !field("W").isEmpty, isConnectionLost: PQstatus(pointer) != CONNECTION_OK)
    }

    /// libpq's words, on one line. They hold neither passwords nor parameters.
    private static func message(of pointer: OpaquePointer) -> String {
        let text = PQerrorMessage(pointer).map { String(cString: $0) } ?? ""
        let lines = text.split(separator: "\n").map { $0.trimmingPrefix(while: \.isWhitespace) }
        return lines.isEmpty ? "the server has closed the connection" : lines.joined(separator: "; ")
    }
}
