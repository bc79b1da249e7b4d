// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import OutboundHTTP
import OutgoingWebhooks
import Testing

@Suite struct OutgoingTargetTests {
    private func target(_ url: String, named: [String] = []) throws -> OutgoingTarget? {
        OutgoingTarget(url, kind: .status, namedHosts: try #require(NamedHosts(named)))
    }

    @Test(arguments: [
        "http://example.com/", "https://me:secret@example.com/", "https://me@example.com/", "https://example.com/#x",
        "ftp://example.com/", "example.com", "https:///path", "https://a%2eb/", "https://exa mple.com/", "",
    ])
    func anythingButHTTPSWithoutUserIsRefused(_ url: String) throws {
        #expect(try target(url) == nil)
    }

    @Test func onlyNamedHostsAreReachedAnywhere() throws {
        #expect(try target("https://example.com/hook")?.addressPolicy == .publicOnly)
        #expect(try target("https://127.0.0.1/hook")?.addressPolicy == .publicOnly)
        #expect(try target("http://127.0.0.1:8080/hook", named: ["127.0.0.1"])?.addressPolicy == .any)
        #expect(try target("http://127.0.0.1:8080/hook", named: ["127.0.0.1:8080"])?.addressPolicy == .any)
        #expect(try target("http://127.0.0.1:8081/hook", named: ["127.0.0.1:8080"]) == nil)
        #expect(try target("http://[::1]:8080/hook", named: ["[::1]"])?.addressPolicy == .any)
    }

    @Test func nameTellsNothingOfTheURLButItsHost() throws {
        let target = try #require(try target("https://example.com:8443/hook?token=secret"))
        #expect(target.host == "example.com:8443")
        #expect(target.id.wholeMatch(of: /[0-9a-f]{12}/) != nil)
        let other = OutgoingTarget(target.url, kind: .delivery, namedHosts: try #require(NamedHosts([])))
        #expect(try #require(other).id != target.id)
    }

    @Test(arguments: ["a b", "host:0", "host:99999", "http://host", ""]) func wrongHostIsRefused(_ text: String) {
        #expect(NamedHosts([text]) == nil)
    }
}

@Suite struct MessageSignerTests {
    /// Of the reference implementations' own tests.
    private static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    private static let id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    private static let time = Timestamp(seconds: 1_614_265_330)
    private static let body = Array(#"{"test": 2432232314}"#.utf8)
    private static let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    @Test func signatureIsTheReferences() throws {
        let signer = try #require(MessageSigner(secrets: [Self.secret]))
        #expect(signer.signature(id: Self.id, time: Self.time, body: Self.body) == Self.signature)
    }

    @Test func everySecretSigns() throws {
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        let signer = try #require(MessageSigner(secrets: [other, Self.secret]))
        let parts = signer.signature(id: Self.id, time: Self.time, body: Self.body).split(separator: " ")
        #expect(parts.count == 2 && parts[0] != parts[1] && parts[1] == Self.signature)
    }

    @Test(arguments: [
        "", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA", "whsec_not base64",
        "whsec_\(String(repeating: "A", count: 88))",
    ])
    func wrongSecretIsRefused(_ secret: String) {
        #expect(MessageSigner(secrets: [secret]) == nil)
    }

    @Test func noSecretIsNone() { #expect(MessageSigner(secrets: []) == nil) }
}
