// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import Testing

extension Client {
    /// Without the token in a header, as a browser is.
    var withoutToken: Browser { Browser(client: Client(client: client, token: nil)) }

    func browser(cookie: String, csrf: String? = nil) -> Browser {
        Browser(client: Client(client: client, token: nil), cookie: cookie, csrf: csrf)
    }

    func logIn(
        token: String = World.token, next: String = "/", headers: HTTPFields = [:]
    ) async throws -> Answer {
        try await withoutToken.form("/login", ["token": token, "next": next], headers: headers)
    }

    /// A browser with a session, and the token that its forms hold.
    func loggedIn() async throws -> Browser {
        let answer = try await logIn()
        let header = try #require(answer.headers[.setCookie])
        let cookie = try #require(header.split(separator: ";").first?.split(separator: "=").last)
        let page = try await browser(cookie: String(cookie)).get("/").text
        let csrf = try #require(page.firstMatch(of: /name="csrf" value="([^"]+)"/)?.output.1)
        return browser(cookie: String(cookie), csrf: String(csrf))
    }
}

/// Asks as a browser does: with its cookie, and by forms.
struct Browser: Sendable {
    let client: Client
    var cookie: String?
    var csrf: String?

    func get(_ uri: String, headers: HTTPFields = [:]) async throws -> Client.Answer {
        try await send(.get, uri, headers: headers)
    }

    func post(_ uri: String, headers: HTTPFields = [:]) async throws -> Client.Answer {
        try await send(.post, uri, headers: headers)
    }

    func send(
        _ method: HTTPRequest.Method, _ uri: String, _ body: String? = nil, headers: HTTPFields = [:]
    ) async throws -> Client.Answer {
        var all = headers
        if let cookie, all[.cookie] == nil { all[.cookie] = "clipbridge_session=\(cookie)" }
        return try await client.send(method, uri, body, headers: all)
    }

    /// Presses a button of a page of this session.
    func press(
        _ uri: String, _ fields: [String: String] = [:], headers: HTTPFields = [:]
    ) async throws -> Client.Answer {
        try await form(uri, fields.merging(["csrf": csrf ?? ""]) { given, _ in given }, headers: headers)
    }

    func form(
        _ uri: String, _ fields: [String: String], headers: HTTPFields = [:]
    ) async throws -> Client.Answer {
        var all = headers
        all[.contentType] = "application/x-www-form-urlencoded"
        let body = fields.map { name, value in
            "\(name)=\(value.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "")"
        }
        return try await send(.post, uri, body.joined(separator: "&"), headers: all)
    }
}
