// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import HTTPTypes
import Metrics
import MetricsTestKit
import OutboundHTTP
import Testing

@testable import CloudflareStream

struct StreamClientTests {
    @Test func videoIsAskedForByItsUidWithTheToken() async throws {
        let world = World(.result(#"{"uid":"\#(uid)","status":{"state":"ready"}}"#))
        let video = try await world.client.video(uid)
        #expect(video?.state == .ready)
        let request = try #require(world.transport.requests.first)
        #expect(request.url == "https://api.example.com/client/v4/accounts/acc%2Fount/stream/\(uid)")
        #expect(request.method == .get)
        #expect(request.headers[.authorization] == "Bearer secret-token")
    }

    @Test func missingVideoIsNil() async throws {
        let world = World(.failure(404, code: 10_003, "Not Found"))
        #expect(try await world.client.video(uid) == nil)
    }

    @Test func missingRouteIsNoMissingVideo() async throws {
        for answer in [Result.failure(404, code: 7_003, "No route for that URI"), .html(404)] {
            let world = World(answer)
            let error = await world.error { client async throws(StreamError) in _ = try await client.video(uid) }
            #expect(error?.code == .noRoute)
            #expect(error?.isRetryable == false)
            #expect(error?.message.contains("CLOUDFLARE_ACCOUNT_ID") == true)
        }
    }

    @Test func manyVideosComeByOneCallEachHundred() async throws {
        let uids = (0..<150).map { ClipUID("clip\($0)")! }
        let world = World(
            .result(#"[{"uid":"clip0","status":{"state":"queued"}},{"uid":7},null,{"uid":"clip1","status":null}]"#),
            .result("[]")
        )
        let videos = try await world.client.videos(uids)
        #expect(Set(videos.keys) == [uids[0], uids[1]])
        let requests = world.transport.requests
        #expect(requests.count == 2)
        #expect(requests[0].url.hasSuffix("/stream?id=" + uids[..<100].map(\.rawValue).joined(separator: ",")))
        #expect(requests[1].url.hasSuffix("/stream?id=" + uids[100...].map(\.rawValue).joined(separator: ",")))
    }

    @Test func noVideosNeedNoCall() async throws {
        let world = World()
        #expect(try await world.client.videos([]).isEmpty)
        #expect(world.transport.requests.isEmpty)
    }

    @Test func pageIsBoundedByTimeAndNumber() async throws {
        let world = World(.result(#"[{"uid":"a","created":"2026-10-06T08:15:21.497013Z"},{}]"#))
        let page = try await world.client.listPage(before: Timestamp(seconds: 1_791_274_521), limit: 5_000)
        #expect(page.videos.map(\.uid.rawValue) == ["a"])
        #expect(page.unreadable == 1)
        #expect(world.transport.requests[0].url.hasSuffix("/stream?limit=1000&before=2026-10-06T08%3A15%3A21.000Z"))
    }

    @Test func mp4IsAskedForByItsTypeAndElseByTheOlderPath() async throws {
        let world = World(
            .failure(404, code: 7_003, "No route"),
            .result(
                #"{"default":{"status":"inprogress","percentComplete":0,"url":"https://h/\#(uid)/x.mp4"}}"#
            )
        )
        let download = try await world.client.createDownload(uid)
        #expect(download?.state == .inProgress)
        #expect(world.transport.requests.map(\.method) == [.post, .post])
        #expect(world.transport.requests[0].url.hasSuffix("/\(uid)/downloads/default"))
        #expect(world.transport.requests[1].url.hasSuffix("/\(uid)/downloads"))
    }

    @Test func mp4OfAMissingVideoIsAskedForOnce() async {
        let world = World(.failure(404, code: 10_003, "Not Found"))
        let error = await world.error { client async throws(StreamError) in _ = try await client.createDownload(uid) }
        #expect(error?.code == .notFound)
        #expect(world.transport.requests.count == 1)
    }

    @Test func mp4ThatWasNeverAskedForIsNil() async throws {
        let world = World(.result("{}"), .result("null"), .json(200, #"{"success":true}"#))
        for _ in 0..<3 { #expect(try await world.client.download(uid) == nil) }
    }

    @Test func deletingAnMP4ThatIsNotThereIsNoFailure() async throws {
        let world = World(.failure(404, code: 10_003, "Not Found"), .result(#""ok""#))
        try await world.client.deleteDownload(uid)
        try await world.client.deleteDownload(uid)
        #expect(world.transport.requests.map(\.method) == [.delete, .delete])
    }

    @Test func tokenIsForDownloadsAndRunsOut() async throws {
        let world = World(.result(#"{"token":"eyJ.a.b"}"#))
        #expect(try await world.client.token(uid, lifetime: .seconds(600)) == "eyJ.a.b")
        guard case .bytes(let body) = world.transport.requests[0].body else {
            Issue.record("no body")
            return
        }
        let json = try JSONDecoder().decode([String: JSONValue].self, from: Data(body))
        #expect(json == ["downloadable": true, "exp": 1_800_000_600])
    }

    @Test func subscriptionIsReadInBothSpellings() async throws {
        let world = World(
            .result(
                #"{"notificationUrl":"https://a.example/","secret":"s1","modified":"2026-01-01T01:02:21.076571Z"}"#
            ),
            .result(#"{"notification_url":"https://b.example/","secret":"s2"}"#),
            .result("{}"),
            .failure(404, code: 10_003, "none")
        )
        #expect(try await world.client.webhook()?.secret == "s1")
        #expect(try await world.client.webhook()?.notificationURL == "https://b.example/")
        #expect(try await world.client.webhook() == nil)
        #expect(try await world.client.webhook() == nil)
    }

    @Test func subscribingSendsTheURL() async throws {
        let world = World(.result(#"{"notificationUrl":"https://a.example/x","secret":"s"}"#), .result(#""ok""#))
        let webhook = try await world.client.subscribeWebhook("https://a.example/x")
        #expect(webhook.secret == "s")
        #expect("\(webhook)" == "StreamWebhook(https://a.example/x)")
        try await world.client.deleteWebhook()
        let requests = world.transport.requests
        #expect(requests.map(\.method) == [.put, .delete])
        guard case .bytes(let body) = requests[0].body else {
            Issue.record("no body")
            return
        }
        let json = try JSONDecoder().decode([String: String].self, from: Data(body))
        #expect(json == ["notificationUrl": "https://a.example/x"])
        #expect(requests[0].headers[.contentType] == "application/json")
    }

    // MARK: Errors

    @Test(arguments: [
        (400, StreamError.Code.refused, false), (401, .unauthorized, false), (403, .unauthorized, false),
        (404, .notFound, false), (405, .noRoute, false), (408, .unavailable, true), (409, .notReady, true),
        (410, .refused, false), (412, .notReady, true), (413, .refused, false), (424, .notReady, true),
        (425, .notReady, true), (429, .rateLimited, true), (451, .refused, false), (500, .unavailable, true),
        (502, .unavailable, true), (503, .unavailable, true), (504, .unavailable, true), (520, .unavailable, true),
        (301, .unexpectedAnswer, false),
    ])
    func answerIsClassedByItsStatus(status: Int, code: StreamError.Code, isRetryable: Bool) async {
        let world = World(.failure(status, code: 10_005, "why"))
        let error = await world.error { client async throws(StreamError) in _ = try await client.download(uid) }
        #expect(error?.code == code)
        #expect(error?.isRetryable == isRetryable)
        #expect(error?.status == status)
        #expect(error?.cloudflareCode == 10_005)
        #expect(error?.cloudflareMessage == "why")
    }

    @Test(arguments: [403, 404, 429, 500, 502, 503, 520])
    func pageInsteadOfJSONIsNoFailureToRead(status: Int) async {
        let world = World(.html(status))
        let error = await world.error { client async throws(StreamError) in _ = try await client.download(uid) }
        #expect(error?.status == status)
        #expect(error?.isRetryable == (status == 429 || status >= 500))
        #expect(error?.message.contains("<html>") == false)
    }

    @Test func refusedTokenNamesItsSetting() async {
        let world = World(.failure(401, code: 10_000, "Authentication error"))
        let error = await world.error { client async throws(StreamError) in try await client.verify() }
        #expect(
            error?.message == "Cloudflare refused the API token (HTTP 401, code 10000 \"Authentication error\"): check "
                + "CLOUDFLARE_API_TOKEN and that it has Stream Read and Write for the account in CLOUDFLARE_ACCOUNT_ID"
        )
        #expect(error?.shortDescription == "cloudflare_unauthorized")
    }

    @Test func tokenThatIsNoneByItsFormIsRefusedToo() async {
        let world = World(.failure(400, code: 6_003, "Invalid request headers"))
        let error = await world.error { client async throws(StreamError) in try await client.verify() }
        #expect(error?.code == .unauthorized)
    }

    @Test func answerThatCanNotBeReadIsRetryable() async {
        let world = World(
            .json(200, "{"),
            .html(200),
            .json(200, #"{"success":false,"errors":[{"message":"later"}]}"#),
            .result(#"{"uid":"not a uid!"}"#),
            .result("null")
        )
        for _ in 0..<5 {
            let error = await world.error { client async throws(StreamError) in _ = try await client.video(uid) }
            #expect(error?.code == .unexpectedAnswer)
            #expect(error?.isRetryable == true)
        }
    }

    @Test func transportErrorIsCarried() async {
        let world = World(.failure(TransferError(code: .tls, message: "certificate expired")))
        let error = await world.error { client async throws(StreamError) in _ = try await client.video(uid) }
        #expect(error?.code == .transfer)
        #expect(error?.isRetryable == false)
        #expect(error?.transferError?.code == .tls)
        #expect(error?.message == "reading the video at Cloudflare got no answer: certificate expired")
    }

    @Test func everyMessageAndNameIsFreeOfTheToken() async {
        for status in [400, 401, 403, 404, 429, 500, 302] {
            let world = World(.failure(status, code: 1, "x"))
            let error = await world.error { client async throws(StreamError) in _ = try await client.download(uid) }
            #expect(error?.message.contains("secret-token") == false)
            var dumped = ""
            dump(world.client, to: &dumped)
            #expect(!dumped.contains("secret-token") && !"\(world.client)".contains("secret-token"))
        }
    }

    // MARK: Budget

    @Test func answerOf429StopsEverythingForAsLongAsItSays() async throws {
        let world = World(.html(429, [.retryAfter: "42"]), .result("{}"))
        let first = await world.error { client async throws(StreamError) in _ = try await client.download(uid) }
        #expect(first?.retryAfter == .seconds(42))
        #expect(first?.isWaiting == true)
        let second = await world.error { client async throws(StreamError) in _ = try await client.download(uid) }
        #expect(second?.code == .budget)
        #expect(second?.retryAfter == .seconds(42))
        #expect(second?.actionFailure.isWaiting == true)
        #expect(world.transport.requests.count == 1)
        world.clock.advance(.seconds(42))
        #expect(try await world.client.download(uid) == nil)
    }

    @Test func answerOf429WithoutATimeStopsForFiveMinutes() async {
        let world = World(.html(429))
        let error = await world.error { client async throws(StreamError) in _ = try await client.download(uid) }
        #expect(error?.retryAfter == .seconds(300))
    }

    @Test func retryAfterOfAPassingFaultIsKept() async {
        let world = World(.html(503, [.retryAfter: "Fri, 15 Jan 2027 08:00:05 GMT"]))
        let error = await world.error { client async throws(StreamError) in _ = try await client.download(uid) }
        #expect(error?.retryAfter == .seconds(5))
        #expect(error?.isWaiting == false)
    }

    @Test func hintOfAnAnswerSlowsTheNextRequest() async throws {
        let header = HTTPFields([HTTPField(name: .init("Ratelimit")!, value: #""default";r=10;t=30"#)])
        let world = World(.json(200, #"{"success":true,"result":{}}"#, header), .result("{}"), .result("{}"))
        let start = world.clock.now()
        for _ in 0..<3 { _ = try await world.client.download(uid, priority: .move) }
        #expect(world.clock.now() - start >= .milliseconds(3_750))
    }

    @Test func cancelledWaiterIsNotSentAndNotCounted() async {
        let world = World(limits: .init(requestsPerWindow: 10, burstShare: 0.1, reserveShare: 0))
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            return await world.error { client async throws(StreamError) in _ = try await client.download(uid) }
        }
        task.cancel()
        #expect(await task.value?.code == .cancelled)
        #expect(world.transport.requests.isEmpty)
    }

    @Test func requestsAndTheBudgetAreMeasured() async throws {
        let world = World(
            .result("{}"),
            .result("{}"),
            .html(503),
            .failure(TransferError(code: .timeout, message: "t"))
        )
        for _ in 0..<4 { _ = try? await world.client.download(uid) }
        let label = "clipbridge_cloudflare_requests_total"
        for (code, total) in [("200", Int64(2)), ("503", 1), ("timeout", 1)] {
            let counter = try world.metrics.expectCounter(label, [("endpoint", "get_downloads"), ("code", code)])
            #expect(counter.totalValue == total)
        }
        let gauge = try world.metrics.expectGauge("clipbridge_cloudflare_budget_remaining")
        #expect(gauge.lastValue == 188)
    }
}
