// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers
import Testing

/// Several bridges on one database.
@Suite(.timeLimit(.minutes(10))) struct ReplicaTests {
    /// Replica number `index` keeps its spool to itself.
    private static func settings(_ index: Int, _ world: World) -> [String: String] {
        // Polls at their own pace: Cloudflare's request limit is what many clips wait for.
        [
            "CLIPBRIDGE_SPOOL_DIR": world.path("spool-\(index)"), "CLIPBRIDGE_POLL_MIN": "2s",
            "CLIPBRIDGE_POLL_MAX": "10s",
        ]
    }

    // MARK: Other programs

    /// An application asks for all its clips in one statement.
    @Test func requestsInBulkAreDecidedWhileWebhooksAreServed() async throws {
        try await World.run(on: .postgres()) { world in
            let given = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_REQUESTS"]
            let count = given.flatMap { Int($0) } ?? 5_000
            let sandbox = try await world.sandbox()
            let replicas = try await [
                world.bridge(sandbox, Self.settings(0, world)), world.bridge(sandbox, Self.settings(1, world)),
            ]
            _ = try await world.query(
                """
                ALTER TABLE clips ADD COLUMN title text;
                INSERT INTO clips (cloudflare_uid, status, processing_details, title)
                SELECT 'bulk' || n, 'error', jsonb_build_object('mine', n), 'Title ' || n FROM generate_series(1, \(count)) n
                """)
            let sum =
                "SELECT md5(string_agg(title || (processing_details ->> 'mine'), ',' ORDER BY cloudflare_uid)) FROM clips "
                + "WHERE cloudflare_uid LIKE 'bulk%'"
            let before = try await world.query(sum)
            try await until("all rows", within: .seconds(500)) {
                try await letPass(.milliseconds(500))
                return try await world.query("SELECT count(*) FROM clipbridge_clips WHERE uid LIKE 'bulk%'")
                    == "\(count)"
            }
            let sender = WebhookStream(bridges: replicas, secret: sandbox.secret, perSecond: 50)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await sender.run() }
                defer { group.cancelAll() }
                let start = ContinuousClock.now
                _ = try await world.query(
                    "UPDATE clips SET processing_details = processing_details || '{\"requested_status\": \"error\"}' "
                        + "WHERE cloudflare_uid LIKE 'bulk%'")
                let left = "SELECT count(*) FROM clips WHERE processing_details ? 'requested_status'"
                try await until("the last request", within: .seconds(500)) {
                    try await letPass(.milliseconds(500))
                    return try await world.query(left) == "0"
                }
                print(
                    "\(count) requests decided in \(ContinuousClock.now - start), \(sender.acknowledged.count) webhooks meanwhile"
                )
            }
            #expect(sender.refusals == 0 && sender.otherAnswers == [] && sender.acknowledged.count > 50)
            #expect(try await world.query(sum) == before)
            let entries = "SELECT count(*) FROM clipbridge_signals WHERE uid LIKE 'bulk%' AND outcome = 'merged'"
            #expect(try await world.query(entries) == "\(count)")
            #expect(try await world.run(["store", "verify"]).status == 0)
        }
    }

    // MARK: A pooler

    /// Sessions are not ours behind it, and notifications do not come through.
    @Test func bridgeServesBehindAPoolerInTransactionMode() async throws {
        try await World.run(on: .sqlite) { world in
            try await PostgresCluster.with(world) { cluster in
                let port = try await world.freePort()
                let pooler = try await cluster.pooler(port: port)
                let database = ["DATABASE_URL": "postgres://clipbridge@127.0.0.1:\(port)/postgres"]
                let sandbox = try await world.sandbox()
                let first = try await world.bridge(sandbox, database.merging(Self.settings(0, world)) { $1 })
                let second = try await world.bridge(sandbox, database.merging(Self.settings(1, world)) { $1 })
                let uids = try await [sandbox.copy("sample:1MB"), sandbox.copy("sample:18MB")]
                try await first.register(uids[0])
                _ = try await cluster.query("INSERT INTO clips VALUES ('\(uids[1])', 'uploading')")
                for uid in uids {
                    let clip = try await second.clip(uid, reaches: .complete)
                    expectOnlyForward(clip.history)
                    #expect(try await sandbox.downloads(of: uid).full == 1)
                }
                try await until("the words for it") { first.program.error.contains("behind a pooler") }
                #expect(try await world.run(["store", "verify"], database).status == 0)
                pooler.send(SIGTERM)
            }
        }
    }

    // MARK: Deaths

    @Test func clipsCompleteWhicheverReplicaDies() async throws {
        try await World.run(on: .postgres()) { world in
            // As many as Cloudflare's request limit allows in about a minute; more by hand.
            let given = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_CLIPS"]
            let count = given.flatMap { Int($0) } ?? 60
            let sandbox = try await world.sandbox(
                [
                    "--access-log", world.path("access.jsonl"), "--seed", "7",
                    "--fault", "route=mp4,kind=reset,after=100KiB,rate=0.05", "--fault",
                    "route=s3,status=503,rate=0.05",
                    "--fault", "route=list,status=500,rate=0.05", "--fault", "route=downloads,status=502,rate=0.05",
                    "--fault", "route=webhook,kind=duplicate,rate=0.2",
                    "--fault", "route=webhook,kind=drop,rate=0.1", "--fault", "route=mp4,latency=100ms",
                ], speed: 20)
            var replicas: [BridgeProcess] = []
            for index in 0..<3 { replicas.append(try await world.bridge(sandbox, Self.settings(index, world))) }
            try await sandbox.subscribe(replicas[0])
            var uids: [String] = []
            for number in 0..<count {
                let size = number % 20 == 0 ? "18MB" : "\(200 + number * 7)kB"
                uids.append(try await sandbox.copy("sample:\(size)"))
                if number % 4 != 0 { try await replicas[number % 3].register(uids[number]) }
            }

            var kills = 0
            var random = SystemRandomNumberGenerator()
            func over() async throws -> (complete: Int, stopped: [String]) {
                let complete = try await replicas[0].clips(in: .complete).count
                return (complete, try await replicas[0].clips(in: .error))
            }
            func isOver() async throws -> Bool {
                let (complete, stopped) = try await over()
                return complete + stopped.count == count
            }
            while try await !isOver(), kills < count / 5 {
                try await letPass(.milliseconds(Int.random(in: 2_000...4_000, using: &random)))
                let index = Int.random(in: 0..<3, using: &random)
                try await replicas[index].program.killed()
                kills += 1
                replicas[index] = try await world.restart(replicas[index], sandbox, Self.settings(index, world))
            }
            // The webhook that would have told of a clip may be one of those that never came.
            for uid in uids where try await replicas[0].clip(uid) == nil { try await replicas[0].register(uid) }
            try await until("the end of \(count) clips", within: .seconds(240)) { try await isOver() }
            for uid in try await over().stopped {
                let clip = try #require(try await replicas[0].clip(uid))
                Issue.record("clip \(uid) stopped: \(clip.detail(.errorMessage) ?? "")")
            }

            for uid in uids {
                let clip = try #require(try await replicas[1].clip(uid))
                expectOnlyForward(clip.history)
                let object = try await world.download(try #require(clip.detail(.r2PublicURL)))
                #expect(try await object == sandbox.source(of: uid))
            }
            let access = try AccessLog(world.path("access.jsonl"))
            // Each kill takes at most the transfers that its replica was at, and each of them begins anew elsewhere,
            // where another spool has nothing of it.
            let again = uids.map { access.wholeDownloads(of: $0) - 1 }.filter { $0 > 0 }.reduce(0, +)
            let asked = uids.map { access.mp4Requests(of: $0) - 1 }.filter { $0 > 0 }.reduce(0, +)
            print("\(count) clips, \(kills) kills, \(again) downloads begun anew, \(asked) MP4s asked for again")
            // And at most the calls that it was at.
            #expect(asked <= kills * 8)
            #expect(again <= kills * 4)
            #expect(access.doubleWrites == [])
            let verified = try await world.run(["store", "verify"])
            #expect(verified.status == 0, "\(verified.output) \(verified.error)")
        }
    }

    /// It is rescued within 20 s of a death, and whoever wakes up late changes nothing.
    @Test func sleeperFindsItsClipFinishedAndChangesNothing() async throws {
        try await World.run(on: .postgres()) { world in
            // The first download falls silent, so that the one who has it sleeps in the middle of it.
            let sandbox = try await world.sandbox(
                [
                    "--access-log", world.path("access.jsonl"),
                    "--fault", "route=mp4,kind=stall,after=20MiB,count=1",
                ])
            let sleeper = try await world.bridge(sandbox, Self.settings(0, world))
            let uid = try await sandbox.copy("sample:40MB")
            try await sleeper.register(uid)
            // At R2 and on record; else its bytes would be fetched again, as after any death.
            try await until("the first part") {
                try await world.query("SELECT count(*) FROM clipbridge_transfer_parts WHERE etag <> ''") == "1"
            }
            sleeper.program.send(SIGSTOP)
            let start = ContinuousClock.now
            let other = try await world.bridge(sandbox, Self.settings(1, world))
            let done = try await other.clip(uid, reaches: .complete, within: .seconds(60))
            // 15 s of lease, 2 s between looks, and the transfer itself.
            #expect(ContinuousClock.now - start < .seconds(30))
            let remaining = start + .seconds(40) - .now
            if remaining > .zero { try await letPass(remaining) }
            let before = try await world.query(Self.everything)
            let log = try AccessLog(world.path("access.jsonl"))
            sleeper.program.send(SIGCONT)
            try await until("the sleeper's own words") {
                sleeper.program.error.contains("lease lost") || sleeper.program.error.contains("lost lease")
            }
            try await letPass(.seconds(3))
            #expect(try await world.query(Self.everything) == before)
            let after = try AccessLog(world.path("access.jsonl"))
            #expect(after.writes(of: uid).count { $0.status == 200 } == log.writes(of: uid).count { $0.status == 200 })
            #expect(try await world.download(try #require(done.detail(.r2PublicURL))) == sandbox.source(of: uid))
            // What R2 had already was not fetched again.
            let downloads = try await sandbox.downloads(of: uid)
            #expect(downloads.full == 1 && downloads.bytes <= 40_000_000 + 20 << 20, "\(downloads)")
        }
    }

    private static let everything = """
        SELECT md5(string_agg(t, E'\\n' ORDER BY t)) FROM (
            SELECT c::text FROM clips c UNION ALL SELECT s::text FROM clipbridge_signals s
            UNION ALL SELECT b::text FROM clipbridge_clips b UNION ALL SELECT w::text FROM clipbridge_work w
            UNION ALL SELECT r::text FROM clipbridge_transfers r
            UNION ALL SELECT p::text FROM clipbridge_transfer_parts p
        ) AS x (t)
        """

    // MARK: The database's deaths

    @Test func webhooksAreAnsweredWith503WhileTheDatabaseIsAwayAndNoneIsLost() async throws {
        try await World.run(on: .sqlite) { world in
            try await PostgresCluster.with(world) { cluster in
                let sandbox = try await world.sandbox()
                let bridge = try await world.bridge(sandbox, ["DATABASE_URL": cluster.url])
                let sender = WebhookStream(bridges: [bridge], secret: sandbox.secret, perSecond: 500)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await sender.run() }
                    defer { group.cancelAll() }
                    try await until("500 answers") { sender.acknowledged.count >= 500 }
                    try await cluster.stop()
                    let start = ContinuousClock.now
                    try await until("refusals") { sender.refusals > 100 }
                    let page = try await bridge.get("/metrics")
                    #expect(page.status == 200 && page.text.contains("\nclipbridge_store_up 0\n"))
                    let left = start + .seconds(20) - .now
                    if left > .zero { try await letPass(left) }
                    let (answered, refused) = (sender.acknowledged.count, sender.refusals)
                    try await cluster.start()
                    let up = ContinuousClock.now
                    try await until("the service's own return") { sender.acknowledged.count > answered + 500 }
                    print(
                        "away for 20 s: \(refused) refused; first 500 answers \(ContinuousClock.now - up) after the start"
                    )
                }
                #expect(sender.refusalsWithoutRetryAfter == 0)
                #expect(sender.otherAnswers == [])
                let stored = try await bridge.deliveries()
                #expect(sender.acknowledged.subtracting(stored).isEmpty)
                #expect(try await world.run(["store", "verify"], ["DATABASE_URL": cluster.url]).status == 0)
            }
        }
    }

    @Test func standbyTakesOverAndEveryAnsweredWebhookIsThere() async throws {
        try await World.run(on: .sqlite) { world in
            try await PostgresCluster.with(world) { primary in
                try await primary.withStandby { standby in
                    try await primary.append(["synchronous_standby_names = '*'"])
                    try await primary.reload()
                    try await until("the synchronous standby") {
                        try await primary.query("SELECT sync_state FROM pg_stat_replication") == "sync"
                    }
                    let both = "postgres://clipbridge@127.0.0.1:\(primary.port),127.0.0.1:\(standby.port)/postgres"
                    let sandbox = try await world.sandbox()
                    let bridges = try await [
                        world.bridge(sandbox, ["DATABASE_URL": both].merging(Self.settings(0, world)) { $1 }),
                        world.bridge(sandbox, ["DATABASE_URL": both].merging(Self.settings(1, world)) { $1 }),
                    ]
                    let uid = try await sandbox.copy("sample:18MB")
                    try await bridges[1].register(uid)
                    let sender = WebhookStream(bridges: bridges, secret: sandbox.secret, perSecond: 200)
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        group.addTask { try await sender.run() }
                        defer { group.cancelAll() }
                        try await until("300 answers") { sender.acknowledged.count >= 300 }
                        try await primary.kill()
                        try await standby.promote()
                        let (promoted, answered) = (ContinuousClock.now, sender.acknowledged.count)
                        try await until("answers from the new primary") { sender.acknowledged.count > answered + 200 }
                        let away = ContinuousClock.now - promoted
                        print("200 answers \(away) after the promotion")
                        #expect(away < .seconds(15))
                    }
                    let stored = try await bridges[0].deliveries()
                    #expect(sender.acknowledged.subtracting(stored).isEmpty)
                    try await bridges[0].clip(uid, reaches: .complete)
                    let verified = try await world.run(["store", "verify"], ["DATABASE_URL": standby.url])
                    #expect(verified.status == 0, "\(verified.output) \(verified.error)")
                }
            }
        }
    }
}

/// What the sandbox was asked.
struct AccessLog {
    struct Line: Codable {
        var begin, end: Timestamp
        var method, path, query: String
        var status: Int?
        var range: String?
    }

    let lines: [Line]

    init(_ path: String) throws {
        let text = String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
        // The last line may not be whole yet.
        lines = text.split(separator: "\n").compactMap { try? JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }

    /// Downloads that were answered from the first byte on.
    func wholeDownloads(of uid: String) -> Int {
        lines.count {
            $0.method == "GET" && $0.path.hasPrefix("/media/\(uid)/") && $0.path.hasSuffix(".mp4")
                && $0.range == nil && $0.status == 200
        }
    }

    /// Times that the MP4 was asked for, and that was taken.
    func mp4Requests(of uid: String) -> Int {
        lines.count { $0.method == "POST" && $0.path.hasSuffix("/\(uid)/downloads") && $0.status == 200 }
    }

    func writes(of uid: String) -> [Line] {
        lines.filter { ["PUT", "POST"].contains($0.method) && $0.path.hasSuffix("/videos/\(uid).mp4") }
    }

    /// The same object, or the same part of it, written by two at a time; or finished twice.
    var doubleWrites: [String] {
        let bodies = lines.filter { $0.method == "PUT" && $0.path.contains("/videos/") && $0.status == 200 }
        let overlapping = Dictionary(grouping: bodies) { $0.path + "?" + $0.query }.filter { _, writes in
            let ordered = writes.sorted { $0.begin < $1.begin }
            return zip(ordered, ordered.dropFirst()).contains { $1.begin < $0.end }
        }
        return overlapping.keys.sorted()
    }
}

/// Sends deliveries at a steady rate, each with another body and to another bridge in turn, and counts the answers.
private final class WebhookStream: Sendable {
    private struct Counts: Sendable {
        var acknowledged: Set<String> = []
        var refusals = 0
        var refusalsWithoutRetryAfter = 0
        var other: Set<Int> = []
        var running = 0
    }

    private let bridges: [BridgeProcess]
    private let secret: String
    private let perSecond: Int
    private let counts = NIOLockedValueBox(Counts())

    init(bridges: [BridgeProcess], secret: String, perSecond: Int) {
        self.bridges = bridges
        self.secret = secret
        self.perSecond = perSecond
    }

    var acknowledged: Set<String> { counts.withLockedValue(\.acknowledged) }
    var refusals: Int { counts.withLockedValue(\.refusals) }
    var refusalsWithoutRetryAfter: Int { counts.withLockedValue(\.refusalsWithoutRetryAfter) }
    /// Statuses that are neither 200 nor 503.
    var otherAnswers: Set<Int> { counts.withLockedValue(\.other) }

    func run() async throws {
        let start = ContinuousClock.now
        await withTaskGroup(of: Void.self) { group in
            var number = 0
            while !Task.isCancelled {
                let goal = Int((ContinuousClock.now - start).inSeconds * Double(perSecond))
                // What is late is not made up for beyond a second, and what waits is bounded.
                number = max(number, goal - perSecond)
                while number < goal, counts.withLockedValue({ $0.running }) < 200 {
                    number += 1
                    let current = number
                    counts.withLockedValue { $0.running += 1 }
                    group.addTask { await self.send(current) }
                }
                try? await letPass(.milliseconds(10))
            }
        }
    }

    private func send(_ number: Int) async {
        defer { counts.withLockedValue { $0.running -= 1 } }
        let body: JSONValue = [
            "uid": .string("clip\(number % 97)"), "number": .integer(Int64(number)),
            "status": ["state": "inprogress", "pctComplete": .string("\(number % 100).000000")],
        ]
        guard let bytes = try? body.bytes,
            let answer = try? await bridges[number % bridges.count].deliver(bytes, secret: secret)
        else { return }
        counts.withLockedValue { counts in
            switch answer.status {
            case 200: if let id = answer["delivery"]?.stringValue { counts.acknowledged.insert(id) }
            case 503:
                counts.refusals += 1
                if !answer.headers.contains(where: { $0.name.canonicalName == "retry-after" }) {
                    counts.refusalsWithoutRetryAfter += 1
                }
            default: counts.other.insert(answer.status)
            }
        }
    }
}
