// clipbridge
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import OutboundHTTP
import Testing

@testable import CurlTransport

@Suite struct HeadParserTests {
    @Test func headIsCompleteAtTheEmptyLine() throws {
        let head = try #require(parse("HTTP/1.1 200 OK", "Content-Length: 5", "ETag:  \"a\" ", "Set-Cookie: x", ""))
        #expect(head.status == 200)
        #expect(head.contentLength == 5)
        #expect(head.headers[.eTag] == "\"a\"")
    }

    @Test func interimHeadsAreReadOver() throws {
        let head = try #require(parse("HTTP/1.1 103 Early", "Link: <a>", "", "HTTP/1.1 404 No", "Server: s", ""))
        #expect(head.status == 404)
        #expect(head.headers == [.server: "s"])
        #expect(parse("HTTP/1.1 100 Continue", "") == nil)
    }

    @Test func trailersChangeNothing() throws {
        var parser = HeadParser()
        for line in ["HTTP/2 200 \r\n", "\r\n"] { _ = parser.receive(Array(line.utf8)) }
        #expect(parser.receive(Array("X-Late: 1\r\n".utf8)) == .needsMore)
        #expect(parser.receive(Array("\r\n".utf8)) == .needsMore)
        #expect(parser.head?.headers.isEmpty == true)
    }

    @Test func foldedLineBelongsToTheFieldBefore() throws {
        let head = try #require(parse("HTTP/1.1 200", "Via: one", "\t two", ""))
        #expect(head.headers[.via] == "one two")
    }

    @Test func lengthMeansNothingBesideATransferCoding() throws {
        let head = try #require(parse("HTTP/1.1 200", "Content-Length: 9", "Transfer-Encoding: chunked", ""))
        #expect(head.contentLength == nil)
    }

    @Test(arguments: [
        "HTTP/", "HTTP/1.1", "HTTP/1.1 abc", "HTTP/1.1 99999999999999999999", ":", "", " ", "a b: c", "é",
    ])
    func nonsenseDoesNotTrap(_ line: String) {
        #expect(parse(line, line, "") == nil)
        #expect(parse("HTTP/1.1 200", line, "Content-Length: -1", "") != nil || line.hasPrefix("HTTP/"))
    }

    @Test func bytesAreCountedOverAllHeads() {
        var parser = HeadParser()
        let line = Array(("X-Fill: " + String(repeating: "x", count: 1000) + "\r\n").utf8)
        var outcome = HeadParser.Outcome.needsMore
        for _ in 0..<(HeadParser.bytesMax / line.count) {
            outcome = parser.receive(line)
            #expect(outcome == .needsMore)
        }
        #expect(parser.receive(line) == .tooLarge)
    }

    private func parse(_ lines: String...) -> ResponseHead? {
        var parser = HeadParser()
        for line in lines { _ = parser.receive(Array((line + "\r\n").utf8)) }
        return parser.head
    }
}
