// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import HTTPTypes
import Logging
import NIOConcurrencyHelpers
import OutboundHTTP
import Testing

@testable import CloudflareStream

/// An account's list as Cloudflare documents it: newest first, created before `before`, at most `limit`.
private final class AccountList: HTTPTransport {
    struct Video {
        var uid: String
        /// Microseconds since 1970, as fine as Cloudflare shows it.
        var created: Int64

        var json: String {
            let digits = String(created % 1_000_000)
            let fraction = String(repeating: "0", count: 6 - digits.count) + digits
            let time = Timestamp(seconds: created / 1_000_000).rfc3339.replacing(".000Z", with: ".\(fraction)Z")
            return #"{"uid":"\#(uid)","created":"\#(time)","status":{"state":"ready"}}"#
        }
    }

    private let videos: [Video]
    private let count = NIOLockedValueBox(0)

    init(_ videos: [Video]) {
        self.videos = videos.sorted { ($0.created, $0.uid) > ($1.created, $1.uid) }
    }

    var requests: Int { count.withLockedValue { $0 } }

    var client: StreamClient {
        StreamClient(
            transport: self, baseURL: "https://api.example.com/client/v4", accountID: "account", token: "token",
            budget: RateBudget(clock: SleepingClock()), logger: Logger(label: "test"))
    }

    func send(_ request: OutboundRequest) async throws(TransferError) -> OutboundResponse {
        count.withLockedValue { $0 += 1 }
        let items = URLComponents(string: request.url)?.queryItems ?? []
        func item(_ name: String) -> String? { items.first { $0.name == name }?.value }
        let before = item("before").flatMap { Timestamp(rfc3339: $0) }
        let limit = item("limit").flatMap { Int($0) } ?? 1_000
        let page = videos.filter { video in
            guard let before else { return true }
            return video.created < before.milliseconds * 1_000
        }
        let list = page.prefix(limit).map(\.json).joined(separator: ",")
        return try Result<OutboundResponse, TransferError>.result("[\(list)]").get()
    }
}

struct StreamWalkTests {
    /// Groups of videos of nearly or just the same time, each smaller than a page, some milliseconds or more apart.
    @Test(arguments: [2, 3, 5, 1_000], [0, 413, 1_000_003] as [Int64])
    func everyVideoComesOnceWhereverPagesEnd(pageSize: Int, distance: Int64) async throws {
        let groupSize = min(pageSize - 1, 8)
        let videos = (0..<40).map { index in
            let (group, place) = (Int64(index / groupSize), Int64(index % groupSize))
            let created = 1_700_000_000_123_456 + group * (4_001 + distance) + place / 2 * 170
            return AccountList.Video(uid: "clip\(index)", created: created)
        }
        let account = AccountList(videos)
        var walk = StreamWalk(pageSize: pageSize)
        var found: [StreamVideo] = []
        while let page = try await walk.nextPage(from: account.client) { found += page }
        #expect(found.count == 40)
        #expect(Set(found.map(\.uid.rawValue)) == Set(videos.map(\.uid)))
        let times = found.compactMap(\.created)
        #expect(times == times.sorted(by: >))
        if pageSize == 1_000 { #expect(account.requests == 2) }
    }

    @Test func emptyAccountTakesOneCall() async throws {
        let account = AccountList([])
        var walk = StreamWalk()
        let first = try await walk.nextPage(from: account.client)
        let second = try await walk.nextPage(from: account.client)
        #expect(first == [] && second == nil)
        #expect(account.requests == 1)
    }

    @Test func listThatCanNotBePagedIsNoEndlessOne() async {
        let same = #"[{"uid":"a","created":"2026-10-06T08:15:21Z"},{"uid":"b","created":"2026-10-06T08:15:21Z"}]"#
        let world = World(.result(same), .result(same), .result(same), .result(same))
        let error = await world.error { client async throws(StreamError) in
            var walk = StreamWalk(pageSize: 2)
            while try await walk.nextPage(from: client) != nil {}
        }
        #expect(error?.code == .unexpectedAnswer)
        #expect(world.transport.requests.count == 3)
    }

    @Test func entriesWithoutAUIDAreNoticed() async throws {
        let world = World(.result(#"[{"uid":7},{"uid":"a","created":"2026-10-06T08:15:21Z"}]"#), .result("[]"))
        var walk = StreamWalk()
        let page = try await walk.nextPage(from: world.client)
        #expect(page?.map(\.uid.rawValue) == ["a"])
        #expect(walk.hasUnreadable)
    }
}
