// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import HTTPTypes
import Testing

/// The dashboard's pages as a browser without scripts sees them.
@Suite struct DashboardTests {
    // MARK: Reading

    @Test func listShowsCountsHealthAndClips() async throws {
        let world = World()
        try await world.register(uid(1), .processing, ["name": "First light"])
        try await world.register(uid(2), .complete)
        _ = try await world.deliver(uid(1), .processing)
        try await world.serve { client in
            let browser = try await client.loggedIn()
            let page = try await browser.get("/")
            #expect(page.status == 200)
            #expect(page.headers[.contentType] == "text/html; charset=utf-8")
            #expect(page.headers[.cacheControl] == "no-store")
            for text in [
                "First light", uid(1).rawValue, uid(2).rawValue, "1 / min", "Log out", "data-count=\"error\">0",
            ] {
                #expect(page.text.contains(text), "\(text)")
            }
            #expect(page.text.contains("data-count=\"complete\">1"))
        }
    }

    @Test func listIsFilteredAndPaged() async throws {
        let world = World()
        for number in 1...120 { try await world.register(uid(number), number % 12 == 0 ? .complete : .queued) }
        try await world.serve { client in
            let browser = try await client.loggedIn()
            let complete = try await browser.get("/?status=complete").text
            #expect(complete.contains("/clips/\(uid(12))") && !complete.contains("/clips/\(uid(13))"))
            let first = try await browser.get("/").text
            #expect(first.contains("/clips/\(uid(120))") && !first.contains("/clips/\(uid(20))"))
            let link = try #require(first.firstMatch(of: /href="([^"]*)" rel="next"/)?.output.1)
            let second = try await browser.get(String(link)).text
            #expect(second.contains("/clips/\(uid(20))") && !second.contains("/clips/\(uid(120))"))
            #expect(!second.contains("rel=\"next\""))
        }
    }

    @Test(arguments: [
        ("light", [1]), ("LIGHT%20of", [1]), ("first+light", [1]), ("%20light%20", [1]),
        ("00000000000000000000000000000002", [2]),
        ("000000", [1, 2, 3]), ("nothing", []), ("light%27%22%3C", []),
    ])
    func searchFindsNamesAndUids(_ words: String, _ found: [Int]) async throws {
        let world = World()
        try await world.register(uid(1), .queued, ["name": "First light of the day"])
        try await world.register(uid(2), .queued, ["name": "Second"])
        try await world.register(uid(3), .queued)
        try await world.serve { client in
            // The health panel above names a clip, too.
            let page = try #require(
                try await client.loggedIn().get("/?q=\(words)").text.components(separatedBy: "id=\"rows\"").last)
            for number in 1...3 {
                #expect(page.contains("href=\"/clips/\(uid(number))\"") == found.contains(number), "\(number)")
            }
        }
    }

    @Test func uidIsFoundHoweverOldAndTheBoundOfNamesIsTold() async throws {
        let world = World()
        let old = try #require(ClipUID("abcdef"))
        try await world.register(old, .queued, ["name": "Oldest"])
        // In one transaction: the store of these tests copies itself for each.
        let script = LedgerScript(policy: world.policy, now: world.clock.now())
        try await world.store.write { transaction in
            for number in 1...2_001 {
                _ = try script.submit(
                    Signal(uid: uid(number), source: .operator, status: .queued), registers: true, in: transaction)
            }
        }
        try await world.serve { client in
            let browser = try await client.loggedIn()
            let byUID = try await browser.get("/?q=abcd").text
            #expect(byUID.contains("/clips/abcdef"))
            let byName = try await browser.get("/?q=oldest").text
            #expect(!byName.contains("/clips/abcdef") && byName.contains("2000 clips that changed last"))
        }
    }

    @Test func clipShowsItsTimelineItsTimesAndItsDeliveries() async throws {
        let world = World()
        try await world.register(uid(1), .queued)
        world.clock.advance(by: .seconds(90))
        try await world.submit(Signal(uid: uid(1), source: .poll, status: .processing))
        world.clock.advance(by: .seconds(30))
        try await world.submit(Signal(uid: uid(1), source: .webhook, status: .queued))
        let delivery = try await world.deliver(uid(1), .queued)
        try await world.serve { client in
            let page = try await client.loggedIn().get("/clips/\(uid(1))").text
            for text in ["queued → processing", "backward", "1 min 30 s", "webhook", "/deliveries/\(delivery)"] {
                #expect(page.contains(text), "\(text)")
            }
            #expect(page.contains("\(uid(1)) queued</pre>"), "the raw body")
            #expect(page.contains("Enable MP4") && !page.contains(">Retry<"))
        }
    }

    @Test func unknownPagesAndMethodsAreProblemsOnAPage() async throws {
        try await World().serve { client in
            let browser = try await client.loggedIn()
            for path in ["/clips/nothing", "/clips/%C3%BC", "/deliveries/7", "/deliveries/x", "/dashboard/x/y.js"] {
                let page = try await browser.get(path)
                #expect(page.status == 404 && page.text.contains("<h1>Not Found</h1>"), "\(path)")
            }
            let wrong = try await browser.send(.delete, "/login")
            #expect(wrong.status == 405 && wrong.headers[.allow] == "GET, POST")
            #expect(try await browser.send(.post, "/").status == 405)
            #expect(try await browser.send(.put, "/dashboard/summary").status == 405)
        }
    }

    // MARK: What browsers are told

    @Test func pagesMayDoLittle() async throws {
        let world = World()
        try await world.register(uid(1), .queued)
        try await world.serve { client in
            let browser = try await client.loggedIn()
            for path in ["/", "/login", "/clips/\(uid(1))", "/clips/none"] {
                let answer = try await browser.get(path)
                let policy = try #require(answer.headers[.contentSecurityPolicy])
                #expect(policy.hasPrefix("default-src 'none'; script-src 'self'; style-src 'self'"))
                #expect(!policy.contains("unsafe"))
                #expect(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"))
                #expect(answer.headers[.xContentTypeOptions] == "nosniff")
                #expect(answer.text.firstMatch(of: /style=|<script(?![^>]*src=)|\son\w+=/) == nil, "\(path)")
            }
        }
    }

    @Test func filesAreKeptByTheirVersion() async throws {
        try await World().serve { client in
            let browser = client.withoutToken
            let page = try await browser.get("/login").text
            let path = String(try #require(page.firstMatch(of: /href="([^"]*dashboard.css)"/)?.output.1))
            let file = try await browser.get(path)
            #expect(file.status == 200 && file.headers[.contentType] == "text/css; charset=utf-8")
            #expect(file.headers[.cacheControl]?.contains("immutable") == true)
            #expect(try await browser.get("/dashboard/old/dashboard.css").headers[.cacheControl] == "no-store")
        }
    }

    @Test func hostileTextsStayTexts() async throws {
        let world = World()
        // With a combining mark a quote is another character, and yet a quote to a browser.
        let hostile = "\"\u{301} onfocus=alert(1) autofocus x=\"<script>alert(1)</script>'&amp;\u{600}<img src=x>"
        try await world.register(
            uid(1), .queued, ["name": .string(hostile), "status_message": .string(hostile)])
        try await world.submit(
            Signal(
                uid: uid(1), source: .operator, status: .error,
                details: ["error_code": .string(hostile), "error_message": .string(hostile)]))
        let delivery = NewDelivery(
            receivedAt: world.clock.now(), signedAt: world.clock.now(), signatureHeader: hostile,
            body: Array(hostile.utf8), bodySHA256: Array(hostile.utf8), uid: uid(1), outcome: .malformed, signal: nil)
        guard case .stored(let id) = try await world.store.record(delivery) else { return }
        try await world.serve { client in
            let browser = try await client.loggedIn()
            let query = try #require(hostile.addingPercentEncoding(withAllowedCharacters: .alphanumerics))
            for path in ["/", "/?q=\(query)", "/clips/\(uid(1))", "/deliveries/\(id)"] {
                let page = try await browser.get(path).text
                #expect(page.contains("&lt;script&gt;"), "\(path)")
                let scalars = Array(page.unicodeScalars)
                #expect(
                    !scalars.indices.contains {
                        scalars[$0] == "\"" && scalars[min($0 + 1, scalars.count - 1)] == "\u{301}"
                    })
                #expect(!page.utf8.contains("<script>alert".utf8) && !page.utf8.contains("<img src=x".utf8))
            }
        }
    }

    @Test func thumbnailsComeFromCloudflareAlone() async throws {
        let world = World()
        let good = "https://customer-x.cloudflarestream.com/a/thumbnails/thumbnail.jpg"
        try await world.register(uid(1), .queued, ["thumbnail_url": .string(good)])
        for (number, url) in [
            "http://127.0.0.1/t.jpg", "https://evil.example/x.cloudflarestream.com/",
            "https://u@x.cloudflarestream.com/",
            "https://cloudflarestream.com.evil.example/",
        ].enumerated() { try await world.register(uid(number + 2), .queued, ["thumbnail_url": .string(url)]) }
        try await world.serve { client in
            let page = try await client.loggedIn().get("/").text
            #expect(page.matches(of: /<img src="([^"]*)"/).map { String($0.output.1) } == [good])
        }
    }

    // MARK: Buttons

    @Test func retryGoesBackToTheClip() async throws {
        let world = World()
        try await world.fail(uid(1), from: .mp4Downloading)
        try await world.serve { client in
            let browser = try await client.loggedIn()
            let page = try await browser.get("/clips/\(uid(1))").text
            #expect(page.contains(">Retry<") && page.contains("there is no bucket &quot;x&quot;"))
            let answer = try await browser.press("/clips/\(uid(1))/retry")
            #expect(answer.status == 303 && answer.headers[.location] == "/clips/\(uid(1))?done=retry")
            #expect(try await browser.get("/clips/\(uid(1))?done=retry").text.contains("goes on where it failed"))
            let again = try await browser.press("/clips/\(uid(1))/retry")
            #expect(again.status == 409 && again.text.contains("only a clip in &quot;error&quot; can be retried"))
            #expect(again.text.contains("href=\"/clips/\(uid(1))\""))
        }
        #expect(try await world.store.read { $0.clip(uid(1)) }?.status == .mp4Downloading)
    }

    @Test func mp4AndUploadAreAskedFor() async throws {
        let world = World(policy: LifecyclePolicy(requestsMP4: false))
        try await world.register(uid(1), .streamReady)
        try await world.register(uid(2), .mp4Downloading)
        try await world.serve { client in
            let browser = try await client.loggedIn()
            #expect(try await browser.press("/clips/\(uid(1))/enable-mp4").status == 303)
            #expect(try await world.work(uid(1))?.action == .requestMP4)
            #expect(try await browser.press("/clips/\(uid(2))/upload").status == 303)
            #expect(try await browser.press("/clips/\(uid(2))/destroy").status == 404)
        }
    }

    @Test func replayIsTakenAsNew() async throws {
        let world = World()
        let delivery = try await world.deliver(uid(1), .queued)
        try await world.serve { client in
            let browser = try await client.loggedIn()
            let answer = try await browser.press("/deliveries/\(delivery)/replay", ["uid": uid(1).rawValue])
            #expect(answer.status == 303 && answer.headers[.location] == "/clips/\(uid(1))?done=replay")
            let outside = try await browser.press("/deliveries/\(delivery)/replay", ["uid": "//evil.example"])
            #expect(outside.headers[.location] == "/deliveries/\(delivery)?done=replay")
        }
        #expect(try await world.store.read { $0.pendingEntries(limit: 10) }.count == 3)
    }

    @Test func summaryIsForScripts() async throws {
        let world = World()
        try await world.register(uid(1), .queued)
        try await world.serve { client in
            let answer = try await client.loggedIn().get("/dashboard/summary")
            #expect(answer.array("statuses").count == 10 && answer.array("health").count == 6)
            client.expectProblem(try await client.withoutToken.get("/dashboard/summary"), 401)
        }
    }
}

extension Sequence where Element: Equatable {
    fileprivate func contains(_ part: some Collection<Element>) -> Bool {
        Array(self).ranges(of: part).isEmpty == false
    }
}
