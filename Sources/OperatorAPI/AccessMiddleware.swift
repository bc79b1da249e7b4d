// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Crypto
import FoundationEssentials
import HTTPTypes
import Hummingbird

/// Lets operators in: by their token or a session that was begun with it, or without one only from programs on this
/// machine.
struct AccessMiddleware<Context: RequestContext>: RouterMiddleware {
    let adminToken: String?
    let sessions: DashboardSessions?
    let clock: any WallClock

    @concurrent func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        try check(request)
        return try await next(request, context)
    }

    /// Whether the request comes from an operator.
    func admits(_ request: Request) -> Bool { (try? check(request)) != nil }

    private func check(_ request: Request) throws {
        guard let adminToken else { return try Self.refuseForeign(request) }
        if request.headers[.authorization] == nil, let session = session(of: request) {
            if ![.get, .head].contains(request.method) {
                try Self.refuseOtherSites(request)
                guard session.accepts(csrfToken: request.headers[.csrfToken] ?? "") else {
                    throw Problem(
                        status: .forbidden, detail: "with a session's cookie X-CSRF-Token must hold the session's token"
                    )
                }
            }
            return
        }
        guard Self.carries(adminToken, request) else {
            throw Problem(
                status: .unauthorized, detail: "the operator API needs Authorization: Bearer and the admin token",
                headers: [.wwwAuthenticate: "Bearer realm=\"clipbridge\""])
        }
    }

    func session(of request: Request) -> DashboardSession? { sessions?.session(of: request, at: clock.now()) }

    private static func carries(_ token: String, _ request: Request) -> Bool {
        let values = request.headers[values: .authorization]
        guard values.count == 1, let space = values[0].firstIndex(of: " "),
            values[0][..<space].lowercased() == "bearer"
        else { return false }
        return ConstantTime.equal(String(values[0][space...].drop { $0 == " " }), token)
    }

    /// What a browser marks as coming from another site is no request of our own pages.
    static func refuseOtherSites(_ request: Request) throws {
        if let site = request.headers[.secFetchSite], !["same-origin", "none"].contains(site.lowercased()) {
            throw Problem(status: .forbidden, detail: "a request across sites is refused")
        }
    }

    /// Without a token the API trusts the machine, but not a page in a browser on it: neither one that a foreign name
    /// was pointed here for (DNS rebinding), nor one that sends requests across sites.
    static func refuseForeign(_ request: Request) throws {
        guard isLoopback(authority: request.head.authority ?? "") else {
            throw Problem(
                status: .forbidden, detail: "without an admin token only requests to a loopback host are served")
        }
        if let site = request.headers[.secFetchSite], !["same-origin", "none"].contains(site.lowercased()) {
            throw Problem(status: .forbidden, detail: "a request across sites needs an admin token to be set")
        }
        if let origin = request.headers[.origin], !isLoopback(origin: origin) {
            throw Problem(status: .forbidden, detail: "a request from another origin needs an admin token to be set")
        }
    }

    private static func isLoopback(origin: String) -> Bool {
        for scheme in ["http://", "https://"] where origin.lowercased().hasPrefix(scheme) {
            return isLoopback(authority: String(origin.dropFirst(scheme.count)))
        }
        return false
    }

    private static func isLoopback(authority: String) -> Bool {
        authority.lowercased().wholeMatch(of: /(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d*)?/) != nil
    }
}

enum ConstantTime {
    /// Codes of equal length under a fresh key: comparing them tells nothing of where the texts differ.
    static func equal(_ given: String, _ expected: String) -> Bool {
        let key = SymmetricKey(size: .bits256)
        let code = HMAC<SHA256>.authenticationCode(for: Data(expected.utf8), using: key)
        return HMAC<SHA256>.isValidAuthenticationCode(Data(code), authenticating: Data(given.utf8), using: key)
    }
}

extension HTTPField.Name {
    static let csrfToken = HTTPField.Name("X-CSRF-Token")!  // A literal of token characters.
}
