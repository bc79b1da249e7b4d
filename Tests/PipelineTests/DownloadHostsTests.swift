// clipbridge
// SPDX-License-Identifier: Apache-2.0

import OutboundHTTP
import Testing

@testable import Pipeline

@Suite struct DownloadHostsTests {
    private static let cloudflare = ["*.cloudflarestream.com", "*.videodelivery.net"]

    @Test(arguments: [
        "https://customer-x.cloudflarestream.com/a/downloads/default.mp4",
        "https://a.b.cloudflarestream.com/x", "HTTPS://A.CLOUDFLARESTREAM.COM/x",
        "https://a.videodelivery.net:443/x?p=y",
    ])
    func wildcardTakesEveryHostBelow(_ url: String) throws {
        #expect(try DownloadHosts(Self.cloudflare).permission(for: url)?.addressPolicy == .publicOnly)
    }

    @Test(arguments: [
        "https://cloudflarestream.com/x", "https://evilcloudflarestream.com/x", "https://a.cloudflarestream.com.evil/x",
        "http://a.cloudflarestream.com/x", "ftp://a.cloudflarestream.com/x", "file:///etc/passwd",
        "https://a.cloudflarestream.com:8443/x", "https://user@a.cloudflarestream.com/x",
        "https://a.cloudflarestream.com@evil.example/x", "https://user:pass@a.cloudflarestream.com/x",
        "https://evil.example/#.cloudflarestream.com", "https://evil.example\\.cloudflarestream.com/x",
        "https://evil.example/?x=a.cloudflarestream.com", "https://a.cloudflarestream.com./x", "https:///x",
        "//a.cloudflarestream.com/x", "a.cloudflarestream.com/x", "", "https://", "https://a cloudflarestream.com/x",
        "https://evil.example%2F.cloudflarestream.com/x", "https://[::1]/x", "https://127.0.0.1/x",
        "http://localhost/x",
        "https://a.cloudflarestream.com:99999/x",
    ])
    func anythingElseIsRefused(_ url: String) throws {
        #expect(try DownloadHosts(Self.cloudflare).permission(for: url) == nil)
    }

    @Test(arguments: [
        ("media.example.com", "https://media.example.com/x", true),
        ("media.example.com", "https://media.example.com:443/x", true),
        ("media.example.com", "https://media.example.com:8443/x", false),
        ("media.example.com", "http://media.example.com/x", false),
        ("media.example.com", "https://a.media.example.com/x", false),
        ("media.example.com:8443", "https://media.example.com:8443/x", true),
        ("media.example.com:8443", "https://media.example.com/x", false),
        ("media.example.com:8080", "http://media.example.com:8080/x", false),
        ("127.0.0.1:9000", "http://127.0.0.1:9000/x", true),
        ("127.0.0.1:9000", "https://127.0.0.1:9000/x", true),
        ("127.0.0.1:9000", "http://127.0.0.1:9001/x", false),
        ("127.0.0.1:9000", "http://127.0.0.2:9000/x", false),
        ("127.0.0.1:9000", "http://127.0.0.1/x", false),
        ("localhost:9000", "http://localhost:9000/x", true),
        ("[::1]:9000", "http://[::1]:9000/x", true),
        ("[::1]:9000", "http://[::2]:9000/x", false),
        ("::1", "https://[::1]/x", true),
        ("*.localhost:9000", "http://a.localhost:9000/x", false),
        (" Media.Example.COM ", "https://media.example.com/x", true),
    ])
    func namedHostIsTakenAsItIsNamed(_ entry: String, _ url: String, _ isAllowed: Bool) throws {
        let permission = try DownloadHosts([entry]).permission(for: url)
        #expect((permission != nil) == isAllowed)
    }

    @Test(arguments: [
        "", "*", "*.", "https://a.example", "a.example/x", "a.example:0", "a.example:65536", "a.example:x", "a b",
        "-a.example", "a.example-", "user@a.example", "*.*.example", "[::1", "a..example:",
    ])
    func wrongEntryIsNamed(_ entry: String) {
        #expect(throws: DownloadHosts.InvalidEntry.self) { try DownloadHosts(["a.example", entry]) }
    }
}

@Suite struct ContentRangeTests {
    @Test func rangeIsRead() {
        let range = ContentRange("bytes 100-199/1000")
        #expect(range?.first == 100)
        #expect(range?.last == 199)
        #expect(range?.total == 1000)
        #expect(ContentRange("bytes 0-0/*")?.total == nil)
    }

    @Test(arguments: [
        nil, "", "bytes", "bytes 100-99/1000", "bytes */1000", "items 1-2/3", "bytes 1-2", "bytes -1-2/3",
        "bytes 1-99999999999999999999/3", "bytes 1-2/x", " bytes 1-2/3", "bytes 1-2/3 ",
    ])
    func anythingElseIsNone(_ text: String?) {
        #expect(ContentRange(text) == nil)
    }
}
