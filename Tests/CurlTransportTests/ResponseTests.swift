// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import HTTPTypes
import OutboundHTTP
import Testing

/// What becomes of answers, good and bad.
@Suite struct ResponseTests {
    @Test func interimHeadsAndErrorStatusAreAnswers() async throws {
        let response = try await reply(
            "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + answer("gone", status: "410 Gone", extra: "X-A: b\r\n")
        )
        #expect(response.status == 410)
        #expect(!response.isSuccess)
        #expect(response.head.headers[.init("X-A")!] == "b")
        #expect(response.head.headers[.init("Link")!] == nil)
        #expect(response.body == Array("gone".utf8))
    }

    @Test func chunkedBodyIsPutTogether() async throws {
        let response = try await reply(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
        )
        #expect(response.body == Array("abcde".utf8))
        #expect(response.head.contentLength == nil)
    }

    @Test func redirectIsNotFollowed() async throws {
        let response = try await reply(answer("", status: "302 Found", extra: "Location: http://127.0.0.1:1/\r\n"))
        #expect(response.status == 302)
        #expect(response.head.headers[.location] == "http://127.0.0.1:1/")
    }

    @Test func shortBodyIsTruncated() async throws {
        let error = try await error(
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + String(repeating: "a", count: 1234)
        )
        #expect(error.code == .bodyTruncated)
        #expect(error.curlCode == 18)
        #expect(error.bytesReceived == 1234)
        #expect(error.isRetryable)
        #expect(error.message.contains("stopped at 1,234 of 1,000,000 bytes"))
        #expect(error.message.contains("(curl 18)"))
        #expect(!error.message.contains("token"))
    }

    @Test func shortChunkedBodyIsTruncated() async throws {
        let error = try await error("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc")
        #expect(error.code == .bodyTruncated)
        #expect(error.bytesReceived == 3)
    }

    @Test func bytesBeyondTheStatedLengthAreNotTaken() async throws {
        let response = try await reply("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef")
        #expect(response.body == Array("abc".utf8))
    }

    @Test func resetInTheMiddleIsAReset() async throws {
        let transport = try makeTransport()
        let meter = TransferMeter()
        try await ByteServer.serve({ connection in
            _ = await connection.readRequest()
            try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcde")
            // The bytes are with the client before the reset would throw them away.
            try await eventually("the bytes have arrived") { meter.bytesReceived == 5 }
            try await connection.reset()
        }) { server in
            let error = try await failure(of: transport, OutboundRequest(url: server.url, meter: meter))
            #expect(error.code == .reset)
            #expect(error.curlCode == 56)
            #expect(error.bytesReceived == 5)
            #expect(error.message.contains("reset"))
        }
    }

    @Test func hangingUpWithoutAnAnswerIsAReset() async throws {
        let error = try await error("")
        #expect(error.code == .reset)
        #expect(error.curlCode == 52)
        #expect(!error.isOutcomeKnown)
    }

    /// libcurl repeats a request only where the connection was kept, so the server sees this one once.
    @Test func brokenNewConnectionIsNotTriedAgain() async throws {
        let transport = try makeTransport()
        try await ByteServer.serve({ _ = await $0.readRequest() }) { server in
            let error = try await failure(of: transport, OutboundRequest(url: server.url, limits: .test))
            #expect(error.code == .reset)
            #expect(server.connections == 1)
        }
    }

    @Test func nonsenseIsAProtocolError() async throws {
        let error = try await error("SSH-2.0-OpenSSH_9.2\r\n")
        #expect(error.code == .protocolError)
    }

    @Test func hugeHeadIsRefused() async throws {
        let field = "X-Fill: " + String(repeating: "x", count: 4000) + "\r\n"
        let error = try await error(
            "HTTP/1.1 200 OK\r\n" + String(repeating: field, count: 20) + "Content-Length: 0\r\n\r\n"
        )
        #expect(error.code == .protocolError)
        #expect(error.message.contains("65,536"))
    }

    @Test func endlessInterimHeadsAreRefused() async throws {
        let interim = "HTTP/1.1 103 Early Hints\r\nX-Fill: " + String(repeating: "x", count: 4000) + "\r\n\r\n"
        let error = try await error(String(repeating: interim, count: 40))
        #expect(error.code == .protocolError)
    }

    @Test func memoryBodyStopsAtItsCap() async throws {
        let chunk = String(repeating: "z", count: 4096)
        let text =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + "1000\r\n\(chunk)\r\n" + "1000\r\n\(chunk)\r\n"
        let error = try await error(text, sink: .memory(bytesMax: 5000))
        #expect(error.code == .bodyTooLarge)
        #expect(!error.isRetryable)
    }

    @Test func statedLengthBeyondTheCapIsRefusedAtTheHead() async throws {
        let error = try await error(
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
            sink: .memory(bytesMax: 5000)
        )
        #expect(error.code == .bodyTooLarge || error.code == .protocolError)
        let other = try await self.error(
            "HTTP/1.1 200 OK\r\nContent-Length: 5001\r\n\r\nabc",
            sink: .memory(bytesMax: 5000)
        )
        #expect(other.code == .bodyTooLarge)
        #expect(other.bytesReceived == 0)
    }

    @Test func bodyOfExactlyTheCapIsTaken() async throws {
        let response = try await reply(answer("12345"), sink: .memory(bytesMax: 5))
        #expect(response.body.count == 5)
    }

    private func reply(_ text: String, sink: ResponseSink = .memory(bytesMax: 1 << 20)) async throws -> OutboundResponse
    {
        let transport = try makeTransport()
        return try await ByteServer.serve({ connection in
            _ = await connection.readRequest()
            try await connection.send(text)
            await connection.hold()
        }) { server in
            try await transport.send(OutboundRequest(url: server.url, sink: sink, limits: .test))
        }
    }

    private func error(_ text: String, sink: ResponseSink = .memory(bytesMax: 1 << 20)) async throws -> TransferError {
        let transport = try makeTransport()
        return try await ByteServer.serve({ connection in
            _ = await connection.readRequest()
            try await connection.send(text)
        }) { server in
            try await failure(
                of: transport,
                OutboundRequest(url: server.url + "/path?token=1", sink: sink, limits: .test)
            )
        }
    }
}
