// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import HTTPTypes
import NIOConcurrencyHelpers
import Testing

@Suite struct ClipRouteTests {
    private let members: Set<String> = [
        "uid", "status", "order", "message", "progress", "processing_details", "created_at", "updated_at",
        "next_action",
    ]
    private let entryMembers: Set<String> = [
        "seq", "at", "source", "requested_status", "outcome", "reason", "from", "to", "details",
    ]

    // MARK: Showing

    @Test func clipHasExactlyTheContractsMembers() async throws {
        let world = World()
        try await world.register(uid(1), .processing, ["thumbnail_url": "t"])
        try await world.serve { client in
            let answer = try await client.get("/api/clips/\(uid(1))")
            #expect(answer.status == 200)
            #expect(answer.headers[.contentType] == "application/json")
            #expect(Set(answer.json.objectValue?.keys.map { $0 } ?? []) == members.union(["history"]))
            #expect(answer["uid"] == .string(uid(1).rawValue))
            #expect(answer["status"] == "processing")
            #expect(answer["order"] == 3)
            #expect(answer["message"] == .string(ClipStatus.processing.message))
            #expect(answer["progress"] == 50)
            #expect(answer["processing_details"]?.objectValue?["thumbnail_url"] == "t")
            let now = world.clock.now().rfc3339
            #expect(answer["created_at"] == .string(now))
            #expect(answer["updated_at"] == .string(now))
            #expect(
                answer["next_action"] == ["kind": "check_video", "due_at": .string(now), "attempt": 0])
            let entry = try #require(answer.array("history").first?.objectValue)
            #expect(Set(entry.keys) == entryMembers)
            #expect(entry["source"] == "operator")
            #expect(entry["outcome"] == "applied")
            #expect(entry["reason"] == .null)
            #expect(entry["from"] == .null)
            #expect(entry["to"] == "processing")
        }
    }

    @Test func finishedClipHasNoNextAction() async throws {
        let world = World()
        try await world.register(uid(1), .complete)
        try await world.serve { client in
            let answer = try await client.get("/api/clips/\(uid(1))")
            #expect(answer["next_action"] == .null)
            #expect(answer["progress"] == 100)
        }
    }

    @Test func rowWithAForeignStatusIsShownAsItIs() async throws {
        let world = World()
        world.store.insertForeignRow(uid: uid(1).rawValue, status: nil)
        try await world.serve { client in
            let answer = try await client.get("/api/clips/\(uid(1))")
            #expect(answer["status"] == .null)
            #expect(answer["order"] == .null)
        }
    }

    @Test(arguments: ["00000000000000000000000000000009", "not%20a%20uid", "ü"])
    func unknownClipIs404(_ name: String) async throws {
        try await World().serve { client in
            for path in ["", "/explain"] {
                client.expectProblem(try await client.get("/api/clips/\(name)\(path)"), 404)
            }
            client.expectProblem(try await client.post("/api/clips/\(name)/retry"), 404)
        }
    }

    // MARK: Listing

    @Test func walkShowsEveryClipOnceNewestChangeFirst() async throws {
        let world = World()
        for number in 0..<25 { try await world.register(uid(number), .queued) }
        try await world.serve { client in
            var seen: [String] = []
            var cursor: String? = ""
            var pages = 0
            while let at = cursor {
                let answer = try await client.get("/api/clips?limit=10&cursor=\(at)")
                #expect(answer.status == 200)
                #expect(Set(answer.json.objectValue?.keys.map { $0 } ?? []) == ["clips", "next_cursor"])
                seen += answer.array("clips").compactMap { $0.objectValue?["uid"]?.stringValue }
                cursor = answer["next_cursor"]?.stringValue
                pages += 1
                // What changes meanwhile may come again in a new walk, and pushes nothing out of this one.
                try await world.register(uid(24), .queued)
            }
            #expect(pages == 3)
            #expect(seen == (0..<25).reversed().map { uid($0).rawValue })
        }
    }

    @Test func lastPageEndsWithNull() async throws {
        let world = World()
        for number in 0..<10 { try await world.register(uid(number), .queued) }
        try await world.serve { client in
            let answer = try await client.get("/api/clips?limit=10")
            #expect(answer.array("clips").count == 10)
            #expect(answer["next_cursor"] == .null)
            let clip = answer.array("clips").first?.objectValue
            #expect(Set(clip?.keys.map { $0 } ?? []) == members)
        }
    }

    @Test func listIsFilteredByStatusAndFiftyLong() async throws {
        let world = World()
        for number in 0..<60 { try await world.register(uid(number), number < 55 ? .queued : .complete) }
        try await world.serve { client in
            let all = try await client.get("/api/clips")
            #expect(all.array("clips").count == 50)
            let complete = try await client.get("/api/clips?status=complete")
            #expect(complete.array("clips").count == 5)
            let failed = try await client.get("/api/clips?status=error")
            #expect(failed["next_cursor"] == .null)
            let unfiltered = try await client.get("/api/clips?status=&limit=500")
            #expect(unfiltered.array("clips").count == 60)
        }
    }

    @Test(arguments: [
        "limit=0", "limit=501", "limit=-1", "limit=ten", "limit=", "cursor=x", "cursor=-1", "status=banana",
    ])
    func wrongQueryIs400(_ query: String) async throws {
        try await World().serve { client in
            client.expectProblem(try await client.get("/api/clips?\(query)"), 400)
            if !query.hasPrefix("status") {
                client.expectProblem(try await client.get("/api/deliveries?\(query)"), 400)
            }
        }
    }

    // MARK: Registering

    @Test func registeredClipIs201AndAKnownOne200() async throws {
        let world = World()
        try await world.serve { client in
            let first = try await client.post("/api/clips", ["uid": .string(uid(1).rawValue)])
            #expect(first.status == 201)
            #expect(first["status"] == "uploading")
            #expect(Set(first.json.objectValue?.keys.map { $0 } ?? []) == members)
            let second = try await client.post("/api/clips", ["uid": .string(uid(1).rawValue), "status": "queued"])
            #expect(second.status == 200)
            #expect(second["status"] == "uploading")
            let other = try await client.post(
                "/api/clips", ["uid": .string(uid(2).rawValue), "status": "waitformp4", "details": ["mine": 1]])
            #expect(other.status == 201)
            #expect(other["progress"] == 70)
            #expect(other["processing_details"]?.objectValue?["mine"] == 1)
            let history = try await client.get("/api/clips/\(uid(2))").array("history")
            #expect(history.first?.objectValue?["source"] == "operator")
        }
    }

    @Test func rowOfAnotherProgramIsKnown() async throws {
        let world = World()
        world.store.insertForeignRow(uid: uid(1).rawValue, status: "processing")
        world.store.insertForeignRow(uid: uid(2).rawValue, status: "archived")
        try await world.serve { client in
            let answer = try await client.post("/api/clips", ["uid": .string(uid(1).rawValue)])
            #expect(answer.status == 200)
            #expect(answer["status"] == "processing")
            #expect(answer["created_at"] == .string(world.clock.now().rfc3339))
            #expect(try await client.post("/api/clips", ["uid": .string(uid(2).rawValue)]).status == 200)
        }
    }

    @Test(arguments: [
        "", "[]", "\"x\"", "{", "{\"uid\":", "null", "{}", "{\"uid\":null}", "{\"uid\":7}", "{\"uid\":\"\"}",
        "{\"uid\":\"a b\"}", "{\"uid\":\"000000000000000000000000000000001\"}", "{\"uid\":\"a\",\"status\":\"error\"}",
        "{\"uid\":\"a\",\"status\":\"banana\"}", "{\"uid\":\"a\",\"status\":1}", "{\"uid\":\"a\",\"details\":[]}",
    ])
    func wrongRegistrationIs400(_ body: String) async throws {
        let world = World()
        try await world.serve { client in
            client.expectProblem(try await client.send(.post, "/api/clips", body), 400)
        }
        #expect(try await world.store.read { $0.uids(after: nil, limit: 10) } == [])
    }

    @Test func bodyBeyondItsLimitIs413() async throws {
        try await World().serve { client in
            let body = "{\"uid\":\"a\",\"details\":{\"x\":\"\(String(repeating: "x", count: 256 << 10))\"}}"
            client.expectProblem(try await client.send(.post, "/api/clips", body), 413)
        }
    }

    // MARK: Signals and retry

    @Test func signalAnswersWithItsLedgerEntry() async throws {
        let world = World()
        try await world.register(uid(1), .queued)
        try await world.serve { client in
            let path = "/api/clips/\(uid(1))/signals"
            let applied = try await client.post(path, ["requested_status": "processing", "details": ["mine": 1]])
            #expect(applied.status == 202)
            #expect(Set(applied.json.objectValue?.keys.map { $0 } ?? []) == entryMembers)
            #expect(applied["outcome"] == "applied")
            #expect(applied["from"] == "queued")
            #expect(applied["to"] == "processing")
            #expect(applied["details"] == ["mine": 1])
            let backward = try await client.post(path, ["requested_status": "uploading"])
            #expect(backward.status == 202)
            #expect(backward["outcome"] == "rejected")
            #expect(backward["reason"] == "backward")
            let merged = try await client.post(path, ["requested_status": "processing", "details": nil])
            #expect(merged["outcome"] == "merged")
            let word = try await client.post(path, ["requested_status": "banana"])
            #expect(word["reason"] == "unknown_status")
            #expect(word["requested_status"] == "banana")
            let unknown = try await client.post("/api/clips/\(uid(2))/signals", ["requested_status": "queued"])
            #expect(unknown.status == 202)
            #expect(unknown["reason"] == "unknown_clip")
            for body: JSONValue in [[:], ["requested_status": 1], ["requested_status": "queued", "details": 1]] {
                client.expectProblem(try await client.post(path, body), 400)
            }
        }
    }

    @Test func retryReturnsToWhereTheClipFailed() async throws {
        let world = World()
        try await world.fail(uid(1), from: .r2Uploading)
        try await world.serve { client in
            let answer = try await client.post("/api/clips/\(uid(1))/retry")
            #expect(answer.status == 202)
            #expect(answer["status"] == "r2_uploading")
            #expect(answer["next_action"]?.objectValue?["kind"] == "transfer")
            let history = try await client.get("/api/clips/\(uid(1))").array("history")
            #expect(history.last?.objectValue?["requested_status"] == "r2_uploading")
            #expect(history.last?.objectValue?["from"] == "error")
            client.expectProblem(try await client.post("/api/clips/\(uid(1))/retry"), 409)
        }
    }

    @Test(arguments: ClipStatus.allCases)
    func onlyAClipInErrorIsRetried(_ status: ClipStatus) async throws {
        guard status != .error else { return }
        let world = World()
        try await world.register(uid(1), status)
        try await world.serve { client in
            let detail = client.expectProblem(try await client.post("/api/clips/\(uid(1))/retry"), 409)
            #expect(detail.contains("\"\(status.rawValue)\""))
        }
    }

    // MARK: Explaining

    @Test func explanationSaysWhatHappenedAndWhatComes() async throws {
        let world = World()
        try await world.register(uid(1), .waitForMP4)
        try await world.submit(Signal(uid: uid(1), source: .webhook, status: .queued))
        try await world.serve { client in
            let answer = try await client.get("/api/clips/\(uid(1))/explain")
            #expect(
                Set(answer.json.objectValue?.keys.map { $0 } ?? [])
                    == ["clip", "history", "lease", "next_action", "text"])
            #expect(answer["lease"] == .null)
            #expect(answer.array("history").count == 2)
            let text = try #require(answer["text"]?.stringValue)
            for part in [
                "Clip \(uid(1)) is in \"waitformp4\"", "an operator asked for \"waitformp4\": applied",
                "a webhook delivery asked for \"queued\": rejected, because the clip was in \"waitformp4\"",
                "Next: Cloudflare is asked how far the MP4 is now. The deadline of this stage is",
            ] {
                #expect(text.contains(part), "\(part) is missing in:\n\(text)")
            }
        }
    }

    @Test func explanationNamesTheLease() async throws {
        let world = World()
        try await world.register(uid(1), .mp4Downloading)
        try await world.lease(uid(1))
        try await world.serve { client in
            let answer = try await client.get("/api/clips/\(uid(1))/explain")
            let until = (world.clock.now() + .seconds(15)).rfc3339
            #expect(answer["lease"] == ["owner": "one", "until": .string(until), "epoch": 1])
            #expect(answer["text"]?.stringValue?.contains("the MP4 is moved to R2, which one is doing now") == true)
        }
    }

    @Test func explanationOfAFailedClipSaysWhyAndPointsAtRetry() async throws {
        let world = World()
        try await world.fail(uid(1), from: .r2Uploading)
        try await world.serve { client in
            let answer = try await client.get("/api/clips/\(uid(1))/explain")
            #expect(answer["next_action"] == .null)
            let text = try #require(answer["text"]?.stringValue)
            #expect(text.contains("there is no bucket \"x\""))
            #expect(text.contains("Nothing is done until an operator retries it."))
        }
    }
}
