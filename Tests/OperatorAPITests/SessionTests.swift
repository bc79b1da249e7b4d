// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import HTTPTypes
import Hummingbird
import NIOConcurrencyHelpers
import Testing

/// Logging in, what a session may do, and what it may not.
@Suite struct SessionTests {
    @Test func cookieIsForOurOwnPagesAlone() async throws {
        try await World().serve { client in
            let plain = try await client.logIn()
            #expect(plain.status == 303 && plain.headers[.location] == "/")
            let cookie = try #require(plain.headers[.setCookie])
            #expect(cookie.hasPrefix("clipbridge_session="))
            #expect(cookie.hasSuffix("; Max-Age=43200; Path=/; HttpOnly; SameSite=Strict"))
            let secure = try await client.logIn(headers: [.forwardedProto: "https"])
            #expect(secure.headers[.setCookie]?.hasSuffix("; SameSite=Strict; Secure") == true)
        }
    }

    @Test func withoutASessionPagesLeadToTheLogIn() async throws {
        let world = World()
        try await world.fail(uid(1), from: .queued)
        try await world.serve { client in
            let browser = client.withoutToken
            for (path, next) in [("/", "/"), ("/clips/a", "/clips/a"), ("/?status=error", "/%3Fstatus%3Derror")] {
                let answer = try await browser.get(path)
                #expect(answer.status == 303 && answer.headers[.location] == "/login?next=\(next)")
            }
            #expect(try await browser.post("/clips/\(uid(1))/retry").headers[.location] == "/login?next=/")
            #expect(try await browser.get("/login").status == 200)
        }
        #expect(try await world.store.read { $0.clip(uid(1)) }?.status == .error)
    }

    @Test(arguments: [
        ("/clips/a", "/clips/a"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil.example", "/"),
        ("/a%0D%0AX: y", "/"), ("", "/"),
    ])
    func logInLeadsNowhereElse(_ next: String, _ target: String) async throws {
        try await World().serve { client in
            let answer = try await client.logIn(next: next.removingPercentEncoding ?? next)
            #expect(answer.headers[.location] == target)
        }
    }

    @Test func wrongTokenWaitsAndARightOneDoesNot() async throws {
        let world = World()
        try await world.serve { client in
            async let refused = client.logIn(token: "let me inn")
            await world.clock.waitForSleepers(1)
            #expect(try await client.logIn().status == 303)
            world.clock.advance(by: .seconds(1))
            let answer = try await refused
            #expect(answer.status == 403 && answer.text.contains("not the admin token"))
            #expect(answer.headers[.setCookie] == nil)
        }
    }

    @Test func sessionEndsAfterTwelveHours() async throws {
        let world = World()
        try await world.serve { client in
            let browser = try await client.loggedIn()
            world.clock.advance(by: .seconds(12 * 3600 - 1))
            #expect(try await browser.get("/").status == 200)
            world.clock.advance(by: .seconds(1))
            #expect(try await browser.get("/").status == 303)
            client.expectProblem(try await browser.get("/api/clips"), 401)
        }
    }

    @Test func forgedCookiesAreNone() async throws {
        let world = World()
        try await world.serve { client in
            let browser = try await client.loggedIn()
            let value = try #require(browser.cookie)
            let parts = value.split(separator: ".").map(String.init)
            let later = "\((Int64(parts[0]) ?? 0) + 1)"
            let forged = [
                "", "x", "..", "\(later).\(parts[1]).\(parts[2])", "\(parts[0]).00.\(parts[2])",
                "\(parts[0]).\(parts[1]).", "\(parts[0]).\(parts[1]).\(String(parts[2].dropLast()))0x",
            ]
            for cookie in forged {
                #expect(try await client.browser(cookie: cookie).get("/").status == 303, "\(cookie)")
            }
            let several = try await client.withoutToken.get(
                "/", headers: [.cookie: "a=b; clipbridge_session=x; clipbridge_session=\(value)"])
            #expect(several.status == 200)
        }
        try await World(adminToken: "another").serve { client in
            let other = try await World().session().cookie
            #expect(try await client.browser(cookie: other).get("/").status == 303)
        }
    }

    @Test func formsNeedTheSessionsToken() async throws {
        let world = World()
        try await world.fail(uid(1), from: .queued)
        let otherToken = try await World().session().csrf
        try await world.serve { client in
            let browser = try await client.loggedIn()
            for token in ["", "wrong", otherToken] {
                let answer = try await browser.form("/clips/\(uid(1))/retry", ["csrf": token])
                #expect(answer.status == 403, "\(token)")
            }
            for site in ["cross-site", "same-site"] {
                let answer = try await browser.press("/clips/\(uid(1))/retry", headers: [.secFetchSite: site])
                #expect(answer.status == 403, "\(site)")
            }
            #expect(try await world.store.read { $0.clip(uid(1)) }?.status == .error)
            #expect(try await browser.press("/clips/\(uid(1))/retry").status == 303)
        }
    }

    @Test func apiTakesTheCookieAndForChangesItsToken() async throws {
        let world = World()
        try await world.fail(uid(1), from: .queued)
        try await world.serve { client in
            let browser = try await client.loggedIn()
            #expect(try await browser.get("/api/clips").status == 200)
            client.expectProblem(try await browser.post("/api/clips/\(uid(1))/retry"), 403)
            let token = try #require(browser.csrf)
            client.expectProblem(
                try await browser.post(
                    "/api/clips/\(uid(1))/retry", headers: [.csrfToken: token, .secFetchSite: "cross-site"]), 403)
            let retried = try await browser.post(
                "/api/clips/\(uid(1))/retry", headers: [.csrfToken: token, .secFetchSite: "same-origin"])
            #expect(retried.status == 202)
            // A wrong bearer token is not made up for by a cookie.
            client.expectProblem(try await browser.get("/api/clips", headers: [.authorization: "Bearer x"]), 401)
        }
    }

    @Test func logOutTakesTheCookieAway() async throws {
        try await World().serve { client in
            let browser = try await client.loggedIn()
            #expect(try await browser.form("/logout", [:]).status == 403)
            let answer = try await browser.press("/logout")
            #expect(answer.status == 303 && answer.headers[.location] == "/login?done=logged-out")
            #expect(answer.headers[.setCookie]?.hasPrefix("clipbridge_session=; Max-Age=0; Path=/") == true)
        }
    }

    @Test func withoutAnAdminTokenThereIsNoLogIn() async throws {
        let world = World(adminToken: nil)
        try await world.fail(uid(1), from: .queued)
        try await world.serve { client in
            let browser = client.withoutToken
            let page = try await browser.get("/", headers: [.testAuthority: "127.0.0.1:8787"])
            #expect(page.status == 200 && !page.text.contains("Log out"))
            #expect(try await browser.get("/login").headers[.location] == "/")
            #expect(try await browser.get("/", headers: [.testAuthority: "bridge.example.com"]).status == 403)
            let local: HTTPFields = [.testAuthority: "127.0.0.1:8787", .secFetchSite: "cross-site"]
            #expect(try await browser.form("/clips/\(uid(1))/retry", [:], headers: local).status == 403)
            let own: HTTPFields = [.testAuthority: "127.0.0.1:8787", .secFetchSite: "same-origin"]
            #expect(try await browser.form("/clips/\(uid(1))/retry", [:], headers: own).status == 303)
        }
    }

    @Test func tooLargeAndBrokenFormsAreRefused() async throws {
        try await World().serve { client in
            let browser = try await client.loggedIn()
            #expect(try await browser.send(.post, "/login", String(repeating: "a", count: 20_000)).status == 413)
            #expect(try await browser.send(.post, "/login", "next=1&next=2").status >= 400)
        }
    }
}

extension World {
    /// A session's cookie and form token.
    fileprivate func session() async throws -> (cookie: String, csrf: String) {
        let found = NIOLockedValueBox((cookie: "", csrf: ""))
        try await serve { client in
            let browser = try await client.loggedIn()
            found.withLockedValue { $0 = (browser.cookie ?? "", browser.csrf ?? "") }
        }
        return found.withLockedValue { $0 }
    }
}

extension HTTPField.Name {
    fileprivate static let forwardedProto = HTTPField.Name("X-Forwarded-Proto")!
    fileprivate static let csrfToken = HTTPField.Name("X-CSRF-Token")!
}
