// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import HTTPTypes
import NIOConcurrencyHelpers
import OutboundHTTP
import Testing

/// What a request looks like to the server, byte by byte.
@Suite struct RequestOnTheWireTests {
    @Test func getSendsNothingThatWasNotAskedFor() async throws {
        let request = try await sent { OutboundRequest(url: $0 + "/a/../b%20c?d=e%2Ff") }
        #expect(request.lines.first == "GET /a/../b%20c?d=e%2Ff HTTP/1.1")
        #expect(request.lines.count == 3)
        #expect(request.header("Host")?.hasPrefix("127.0.0.1:") == true)
        #expect(request.header("User-Agent") == "clipbridge/test")
    }

    @Test func headerFieldsKeepTheirOrderAndValues() async throws {
        let fields: [HTTPField] = [
            .init(name: .authorization, value: "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;range"),
            .init(name: .userAgent, value: "other/1"), .init(name: .accept, value: "*/*"),
            .init(name: .init("X-Empty")!, value: ""), .init(name: .init("X-Twice")!, value: "1"),
            .init(name: .init("X-Twice")!, value: "2"), .init(name: .contentLength, value: "77"),
            .init(name: .expect, value: "100-continue"), .init(name: .transferEncoding, value: "chunked"),
        ]
        let request = try await sent { OutboundRequest(url: $0, headers: HTTPFields(fields)) }
        #expect(
            request.lines.dropFirst(2).map { $0 } == [
                "Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;range", "User-Agent: other/1",
                "Accept: */*", "X-Empty:", "X-Twice: 1", "X-Twice: 2",
            ]
        )
    }

    @Test func givenHostTakesTheURLsPlace() async throws {
        let request = try await sent {
            OutboundRequest(url: $0, headers: [.init("Host")!: "bucket.example"])
        }
        #expect(request.lines.filter { $0.lowercased().hasPrefix("host:") } == ["Host: bucket.example"])
    }

    @Test(arguments: [HTTPRequest.Method.post, .put, .patch])
    func emptyBodyStatesItsLength(_ method: HTTPRequest.Method) async throws {
        for body in [OutboundBody.none, .bytes([])] {
            let request = try await sent { OutboundRequest(method: method, url: $0, body: body) }
            #expect(request.lines.first == "\(method.rawValue) / HTTP/1.1")
            #expect(request.header("Content-Length") == "0")
            #expect(request.lines.count == 4)
        }
    }

    @Test(arguments: [HTTPRequest.Method.post, .put, .patch, .delete, .get, .init("PURGE")!])
    func bodyIsSentAtOnceWithItsLength(_ method: HTTPRequest.Method) async throws {
        // Beyond 1 MiB libcurl would ask for a 100 first.
        let body = patterned(3 << 20)
        let request = try await sent { OutboundRequest(method: method, url: $0 + "/p", body: .bytes(body)) }
        #expect(request.lines.first == "\(method.rawValue) /p HTTP/1.1")
        #expect(request.header("Content-Length") == "\(body.count)")
        #expect(request.header("Expect") == nil)
        #expect(request.header("Transfer-Encoding") == nil)
        #expect(request.header("Content-Type") == nil)
        #expect(request.body == body)
    }

    @Test(arguments: [HTTPRequest.Method.delete, .options])
    func methodWithoutBodyStatesNoLength(_ method: HTTPRequest.Method) async throws {
        let request = try await sent { OutboundRequest(method: method, url: $0) }
        #expect(request.lines.first == "\(method.rawValue) / HTTP/1.1")
        #expect(request.header("Content-Length") == nil)
    }

    @Test func headHasNoBodyWhateverLengthItStates() async throws {
        let transport = try makeTransport()
        try await ByteServer.serve({ connection in
            try await connection.answerAll("HTTP/1.1 200 OK\r\nContent-Length: 73400320\r\n\r\n")
        }) { server in
            for _ in 0..<2 {
                let response = try await transport.send(
                    OutboundRequest(method: .head, url: server.url, sink: .memory(bytesMax: 10))
                )
                #expect(response.head.contentLength == 73_400_320)
                #expect(response.body.isEmpty)
            }
            #expect(server.connections == 1)
        }
    }

    @Test func headWithABodyIsNotSent() async throws {
        let error = try await failure(
            of: makeTransport(),
            OutboundRequest(method: .head, url: "http://127.0.0.1:1", body: .bytes([1]))
        )
        #expect(error.code == .other)
    }

    @Test(arguments: [
        "", "nonsense", "ftp://example.com/secret", "http://", "http://user:hidden@127.0.0.1/secret",
        "http://exa mple.com/secret", "http://127.0.0.1:99999/secret", "file:///secret", "http://a\u{0}b/secret",
    ])
    func unusableURLIsRefusedWithoutRepeatingIt(_ url: String) async throws {
        let error = try await failure(of: makeTransport(), OutboundRequest(url: url))
        #expect(error.code == .badURL)
        #expect(!error.message.contains("secret"))
        #expect(!error.message.contains("hidden"))
    }

    /// The request as a server got it.
    private func sent(_ make: @Sendable (String) -> OutboundRequest) async throws -> RawRequest {
        let transport = try makeTransport(.init(userAgent: "clipbridge/test"))
        let seen = NIOLockedValueBox<RawRequest?>(nil)
        try await ByteServer.serve({ connection in
            while let request = await connection.readRequest() {
                seen.withLockedValue { $0 = request }
                try await connection.send(answer("ok"))
            }
        }) { server in
            let response = try await transport.send(make(server.url))
            #expect(response.body == Array("ok".utf8))
        }
        return try #require(seen.withLockedValue { $0 })
    }
}
