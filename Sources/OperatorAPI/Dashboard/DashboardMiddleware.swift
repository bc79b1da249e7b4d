// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import Hummingbird
import Logging

/// Tells browsers what the dashboard's pages may do, which is little, and puts problems on pages.
struct PageMiddleware<Context: RequestContext>: RouterMiddleware {
    let version: String

    /// Pictures come from Cloudflare's own hosts; everything else is ours.
    private static var policy: String {
        [
            "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
            "img-src 'self' https://*.cloudflarestream.com https://*.videodelivery.net", "form-action 'self'",
            "base-uri 'none'", "frame-ancestors 'none'",
        ].joined(separator: "; ")
    }

    @concurrent func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        var response = try await answer(request, context, next)
        response.headers[.contentSecurityPolicy] = Self.policy
        response.headers[.xContentTypeOptions] = "nosniff"
        response.headers[.referrerPolicy] = "no-referrer"
        response.headers[.crossOriginOpenerPolicy] = "same-origin"
        return response
    }

    @concurrent private func answer(
        _ request: Request, _ context: Context, _ next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let problem as Problem {
            return page(of: problem, request)
        } catch let error as HTTPError {
            return page(of: Problem(status: error.status, detail: error.body ?? error.status.reasonPhrase), request)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            context.logger.error("request failed", metadata: ["error": "\(error)"])
            return page(of: .unavailable("the store can not answer at the moment: try again"), request)
        }
    }

    private func page(of problem: Problem, _ request: Request) -> Response {
        let path = request.uri.path
        // The page that a button is on lies above it.
        let above = path.split(separator: "/").prefix(2).joined(separator: "/")
        let isButton = request.method == .post && ["/clips/", "/deliveries/"].contains { path.hasPrefix($0) }
        var response = DashboardPage(title: problem.status.reasonPhrase, version: version).response(
            "problem",
            [
                "detail": .string(problem.detail), "back": .string(isButton ? "/\(above)" : "/"),
                "backText": .string(isButton ? "Back" : "All clips"),
            ], status: problem.status)
        response.headers.append(contentsOf: problem.headers)
        return response
    }
}

/// Sends who has no session to the log-in, and lets no other site press a button.
struct SessionMiddleware<Context: RequestContext>: RouterMiddleware {
    let access: AccessMiddleware<Context>

    @concurrent func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        if access.adminToken == nil {
            try AccessMiddleware<Context>.refuseForeign(request)
        } else if access.session(of: request) == nil {
            // A button that is pressed too late is not pressed after the log-in.
            let page = request.method == .get ? request.uri.string : "/"
            return .redirect(to: "/login?next=\(page.percentEncoded)", type: .normal)
        } else if request.method != .get {
            try AccessMiddleware<Context>.refuseOtherSites(request)
        }
        return try await next(request, context)
    }
}

/// What all pages have about them.
struct DashboardPage: Sendable {
    var title: String
    var version: String
    var script: String?
    var session: DashboardSession?

    func response(
        _ template: String, _ view: [String: JSONValue] = [:], status: HTTPResponse.Status = .ok
    ) -> Response {
        let frame: [String: JSONValue] = [
            "title": .string(title), "version": .string(version), "script": JSONValue(script),
            "assets": .string(DashboardAsset.folder), "hasSession": .bool(session != nil),
            "csrf": .string(session?.csrfToken ?? ""),
        ]
        let page = DashboardTemplates.shared.render(view.merging(frame) { own, _ in own }, with: template)
        return Response(
            status: status, headers: [.contentType: "text/html; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: .init(string: page)))
    }
}

extension String {
    /// For one value of a query.
    var percentEncoded: String {
        utf8.map { byte in
            let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
            if isPlain || "-._~/".utf8.contains(byte) { return String(UnicodeScalar(byte)) }
            let digits = String(byte, radix: 16, uppercase: true)
            return digits.count == 1 ? "%0\(digits)" : "%\(digits)"
        }.joined()
    }
}

extension HTTPField.Name {
    static let crossOriginOpenerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy")!  // Token characters.
    static let referrerPolicy = HTTPField.Name("Referrer-Policy")!  // A literal of token characters.
}
