// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import Foundation
import HTTPTypes
import OutboundHTTP
import Pipeline
import Sandbox
import Testing

/// What the MP4's host does wrong, and what that costs.
@Suite(.timeLimit(.minutes(2))) struct DownloadFaultTests {
    private static let mebibyte = 1 << 20

    // MARK: Breaks

    @Test(arguments: ["reset", "truncate"])
    func twoBreaksInARowAreResumedWhereTheyBroke(_ kind: String) async throws {
        try await TransferWorld.run(["route=mp4,kind=\(kind),after=3MiB,count=2"]) { world in
            let bytes = 8 * Self.mebibyte
            let transfer = try await world.ready(bytes)
            world.expectComplete(await world.perform(transfer))
            world.expectFetchesGoOn()
            let offsets = world.fetches.map(\.offset)
            try #require(offsets.count == 3)
            if kind == "truncate" { #expect(offsets == [0, 3 << 20, 6 << 20]) }
            // What a reset destroys on its way is all that comes twice.
            let last = UInt64(bytes) - offsets[2]
            #expect(
                world.downloads(of: transfer)
                    == DownloadCount(fullRequests: 1, rangeRequests: 2, bytes: 6 << 20 + last))
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func stallEndsByTheLowSpeedLimitAndIsResumed() async throws {
        try await TransferWorld.run(["route=mp4,kind=stall,after=3MiB,count=1"]) { world, request in
            // Only the one that stalls: a busy machine may need a second for what goes on.
            if request.headers[.range] == nil { Self.shorten(&request) }
        } _: { world in
            let bytes = 4 * Self.mebibyte
            let transfer = try await world.ready(bytes)
            world.expectComplete(await world.perform(transfer))
            world.expectFetchesGoOn()
            let offsets = world.fetches.map(\.offset)
            try #require(offsets.count >= 2)
            // A busy machine may need a second for less, and then it is given up before it stalls.
            #expect(offsets[0] == 0 && (1...(3 << 20)).contains(offsets[offsets.count - 1]))
            if offsets == [0, 3 << 20] { #expect(world.downloads(of: transfer).bytes == UInt64(bytes)) }
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func hostThatSaysNothingAtAllFailsAndCostsNothing() async throws {
        try await TransferWorld.run(["route=mp4,kind=stall,count=3"]) { world, request in
            Self.shorten(&request)
        } _: { world in
            let transfer = try await world.ready(100_000)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "download_low_speed")
            #expect(failure.isRetryable)
            #expect(world.fetches.count == 3)
            world.expectComplete(await world.performAgain(transfer))
            #expect(world.downloads(of: transfer).bytes == 100_000)
            try await world.expectSameBytes(transfer, 100_000)
        }
    }

    /// Nobody waits half a minute for a test.
    private static func shorten(_ request: inout OutboundRequest) {
        if SentRequest(request).isFetch { request.limits.lowSpeed = .seconds(1) }
    }

    // MARK: Errors

    @Test(arguments: [("500", nil), ("503,retry-after=1", 1), ("429,retry-after=1", 1)])
    func passingErrorInTheMiddleIsWaitedOut(_ status: String, _ seconds: Int?) async throws {
        let faults = ["route=mp4,kind=truncate,after=3MiB,count=1", "route=mp4,status=\(status),skip=1,count=1"]
        try await TransferWorld.run(faults) { world in
            let bytes = 4 * Self.mebibyte
            let transfer = try await world.ready(bytes)
            world.expectComplete(await world.perform(transfer))
            let fetches = world.fetches
            try #require(fetches.map(\.offset) == [0, 3 << 20, 3 << 20])
            if let seconds { #expect(fetches[2].at - fetches[1].at >= .seconds(seconds)) }
            #expect(world.downloads(of: transfer).bytes == UInt64(bytes))
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func longRetryAfterIsThePlannersAndTheSpoolIsKept() async throws {
        let faults = [
            "route=mp4,kind=truncate,after=3MiB,count=1", "route=mp4,status=503,retry-after=60,skip=1,count=1",
        ]
        try await TransferWorld.run(faults) { world in
            let bytes = 4 * Self.mebibyte
            let transfer = try await world.ready(bytes)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "download_http_503")
            #expect(failure.isRetryable)
            #expect(failure.retryAfter == .seconds(60))
            #expect(world.spool.size(of: transfer.uid) == 3 << 20)
            world.expectComplete(await world.performAgain(transfer))
            #expect(world.fetches.map(\.offset) == [0, 3 << 20, 3 << 20])
            #expect(world.downloads(of: transfer).bytes == UInt64(bytes))
            try await world.expectSameBytes(transfer, bytes)
        }
    }
}

/// Hosts that lie about lengths and ranges, or do not name them.
@Suite(.timeLimit(.minutes(2))) struct DownloadLengthTests {
    private static let mebibyte = 1 << 20
    private static let file = MediaFile(4 * mebibyte + 7)

    @Test(arguments: [MediaHost.Answer.Framing.chunked, .untilClosed])
    func lengthThatIsNotSaidIsTakenFromTheEnd(_ framing: MediaHost.Answer.Framing) async throws {
        try await TransferWorld.withMediaHost({ Self.file.answer($0).framed(framing) }) { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            #expect(host.requests.count == 1)
            try await world.expectObject(transfer, is: Self.file.bytes)
        }
    }

    @Test(arguments: [
        (MediaHost.Answer.Framing.chunked, MediaHost.Answer.End.closed), (.chunked, .reset), (.untilClosed, .reset),
    ])
    func breakWithoutALengthIsResumed(
        _ framing: MediaHost.Answer.Framing, _ end: MediaHost.Answer.End
    ) async throws {
        try await TransferWorld.withMediaHost { request in
            let answer = Self.file.answer(request).framed(framing)
            return request.number == 1 ? answer.cut(after: Self.mebibyte, end) : answer
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            world.expectFetchesGoOn()
            #expect(host.requests.count == 2)
            if end == .closed { #expect(host.offsets == [0, Self.mebibyte]) }
            try await world.expectObject(transfer, is: Self.file.bytes)
        }
    }

    @Test func lengthThatPromisedTooMuchOnceIsFoundOut() async throws {
        try await TransferWorld.withMediaHost { request in
            request.number == 1 ? Self.promisingTooMuch : Self.file.answer(request)
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            // Behind its end the host has nothing, so what it gave may not have been the whole.
            #expect(host.offsets == [0, Self.file.bytes.count, 0])
            try await world.expectObject(transfer, is: Self.file.bytes)
        }
    }

    @Test func lengthThatAlwaysPromisesTooMuchFailsWithWordsAndNoObject() async throws {
        try await TransferWorld.withMediaHost { request in
            request.offset == nil ? Self.promisingTooMuch : Self.file.answer(request)
        } _: { world, host, transfer in
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "download_source")
            #expect(failure.isRetryable)
            #expect(host.requests.count { $0.bytesServed > 0 } <= 4)
            try await world.expectNoObject(transfer)
        }
    }

    private static let promisingTooMuch =
        file.whole.framed(.length("\(file.bytes.count + 1000)")).cut(after: file.bytes.count)

    @Test func lengthThatIsNoNumberFailsWithWordsAndNoObject() async throws {
        try await TransferWorld.withMediaHost { _ in
            Self.file.whole.framed(.length("many"))
        } _: { world, host, transfer in
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "download_protocol")
            #expect(failure.isRetryable)
            #expect(host.requests.count == 3)
            try await world.expectNoObject(transfer)
        }
    }

    /// Some hosts give no more than so much of a range, and some say that it is all of it.
    @Test(arguments: [true, false])
    func rangeThatEndsEarlyIsGoneOnFrom(_ isHonest: Bool) async throws {
        try await TransferWorld.withMediaHost { request in
            guard let offset = request.offset else { return Self.file.whole.cut(after: Self.mebibyte) }
            let end = min(offset + Self.mebibyte, Self.file.bytes.count)
            var part = Self.file.part(from: offset, to: end)
            if !isHonest { part.fields = Self.file.part(from: offset).fields }
            return part
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            world.expectFetchesGoOn()
            #expect(host.offsets == [0, 1, 2, 3, 4].map { $0 * Self.mebibyte })
            #expect(host.requests.map(\.bytesServed).reduce(0, +) == Self.file.bytes.count)
            try await world.expectObject(transfer, is: Self.file.bytes)
        }
    }

    @Test(arguments: [
        "Content-Range: bytes 0-1048575/4194311", "Content-Range: bytes 1048577-4194310/4194311",
        "Content-Range: bytes */4194311", "Content-Type: multipart/byteranges; boundary=x",
    ])
    func rangeThatWasNotAskedForIsNotTaken(_ field: String) async throws {
        try await TransferWorld.withMediaHost { request in
            guard let offset = request.offset else {
                return request.number == 1 ? Self.file.whole.cut(after: Self.mebibyte) : Self.file.whole
            }
            var part = Self.file.part(from: offset)
            part.fields = [field, "ETag: \"one\""]
            // Not the bytes that belong there.
            part.body.reverse()
            return part
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            #expect(host.offsets == [0, Self.mebibyte, 0])
            try await world.expectObject(transfer, is: Self.file.bytes)
        }
    }

    @Test func rangeThatIsLongerThanTheFileIsNotTaken() async throws {
        try await TransferWorld.withMediaHost { request in
            if request.number == 1 { return Self.file.whole.cut(after: Self.mebibyte) }
            var answer = Self.file.answer(request).framed(.chunked)
            if request.number == 2 { answer.body += [1, 2, 3] }
            return answer
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            try await world.expectObject(transfer, is: Self.file.bytes)
        }
    }

    /// All is there and its length is known, so a connection that ends the wrong way after it changes nothing.
    @Test func breakBehindTheLastByteCostsNothing() async throws {
        try await TransferWorld.withMediaHost { request in
            guard let offset = request.offset else { return Self.file.whole.cut(after: Self.mebibyte) }
            let rest = Self.file.answer(request)
            return offset < Self.file.bytes.count ? rest.framed(.chunked).cut(after: .max) : rest
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            #expect(host.offsets == [0, Self.mebibyte])
            try await world.expectObject(transfer, is: Self.file.bytes)
        }
    }
}

/// Places that an MP4 must not be fetched from, over real sockets.
@Suite(.timeLimit(.minutes(2))) struct DownloadPlaceTests {
    private static let file = MediaFile(3 << 20)

    private static func redirect(to url: String) -> MediaHost.Answer {
        MediaHost.Answer("302 Found", ["Location: \(url)"])
    }

    /// Runs `body` beside a host that nobody allowed.
    private func withStranger(_ body: @Sendable (MediaHost) async throws -> Void) async throws {
        try await MediaHost.serve({ Self.file.answer($0) }, while: body)
    }

    @Test(arguments: [1, 2])
    func redirectToAForbiddenHostIsNotFollowed(_ number: Int) async throws {
        try await withStranger { stranger in
            try await TransferWorld.withMediaHost { request in
                request.number < number
                    ? Self.file.whole.cut(after: 1 << 20) : Self.redirect(to: "\(stranger.url)?token=secret")
            } _: { world, host, transfer in
                let failure = try #require(await world.perform(transfer).failure)
                #expect(failure.code == "download_host")
                #expect(!failure.isRetryable)
                #expect(failure.message.contains(stranger.authority))
                #expect(!failure.message.contains("secret"))
                #expect(stranger.connections == 0)
                #expect(host.requests.count == number)
                try await world.expectNoObject(transfer)
            }
        }
    }

    @Test(arguments: [
        "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "ftp://127.0.0.1/x", "//10.0.0.1/x",
        "http://user@HOST/x", "http://HOST@10.0.0.1/x",
    ])
    func redirectToNoPlaceForAnMP4IsNotFollowed(_ location: String) async throws {
        try await TransferWorld.withMediaHost { request in
            // The host does not know its own port, but is told by whoever asks it.
            let host = request.fields.first { $0.hasPrefix("Host: ") }?.dropFirst("Host: ".count) ?? ""
            return Self.redirect(to: location.replacing("HOST", with: host))
        } _: { world, host, transfer in
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "download_host")
            #expect(!failure.isRetryable)
            #expect(world.fetches.count == 1)
            try await world.expectNoObject(transfer)
        }
    }

    @Test func redirectWithinTheAllowedHostsKeepsTheRangeAndCarriesNoCredential() async throws {
        try await MediaHost.serve { request in
            request.number == 1 ? Self.file.whole.cut(after: 1 << 20) : Self.file.answer(request)
        } while: { second in
            try await MediaHost.serve { _ in
                Self.redirect(to: second.url)
            } while: { first in
                try await TransferWorld.run(hosts: [first.authority, second.authority]) { world in
                    let transfer = try await world.ready(at: first.url)
                    world.expectComplete(await world.perform(transfer))
                    #expect(first.offsets == [0, 1 << 20])
                    #expect(second.offsets == [0, 1 << 20])
                    #expect(second.requests.last?.ifRange == Self.file.etag)
                    let fields = (first.requests + second.requests).flatMap(\.fields).map { $0.lowercased() }
                    #expect(!fields.contains { $0.hasPrefix("authorization:") || $0.hasPrefix("cookie:") })
                    #expect(!fields.contains { $0.contains(world.settings.apiToken) })
                    try await world.expectObject(transfer, is: Self.file.bytes)
                }
            }
        }
    }

    @Test func redirectsWithoutEndAreGivenUp() async throws {
        try await TransferWorld.withMediaHost { _ in
            Self.redirect(to: "/again")
        } _: { world, host, transfer in
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "download_redirects")
            #expect(!failure.isRetryable)
            #expect(host.requests.count == 4)
        }
    }

    /// libcurl takes every name below `localhost` for the machine itself.
    @Test(arguments: [false, true])
    func forbiddenAddressBehindAnAllowedNameIsNotConnectedTo(_ isRedirected: Bool) async throws {
        try await withStranger { stranger in
            let url = "https://media.localhost:\(stranger.port)/clip.mp4"
            try await MediaHost.serve { _ in
                Self.redirect(to: url)
            } while: { first in
                let hosts = [first.authority, "*.localhost:\(stranger.port)"]
                try await TransferWorld.run(hosts: hosts) { world in
                    let transfer = try await world.ready(at: isRedirected ? first.url : url)
                    let failure = try #require(await world.perform(transfer).failure)
                    #expect(failure.code == "download_address_refused")
                    #expect(!failure.isRetryable)
                    #expect(failure.message.contains("not a public one"))
                    #expect(stranger.connections == 0)
                    #expect(world.fetches.count == (isRedirected ? 2 : 1))
                    try await world.expectNoObject(transfer)
                }
            }
        }
    }
}
