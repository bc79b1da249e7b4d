// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import HTTPTypes
import Hummingbird

/// The dashboard: pages that are whole without scripts, and what their scripts ask for.
extension OperatorAPI {
    private struct PageRoute<Context: RequestContext>: Sendable {
        var method: HTTPRequest.Method
        var path: String
        var answer: @Sendable (Request, Context) async throws -> Response

        init(
            _ method: HTTPRequest.Method, _ path: String,
            _ answer: @escaping @Sendable (Request, Context) async throws -> Response
        ) {
            (self.method, self.path, self.answer) = (method, path, answer)
        }
    }

    func addDashboard<Context: RequestContext>(
        to router: some RouterMethods<Context>, access: AccessMiddleware<Context>
    ) {
        let pages = router.group("").add(middleware: PageMiddleware(version: metrics.version)).add(
            middleware: TraceMiddleware())
        add(openPages(Context.self), to: pages)
        add(guardedPages(Context.self), to: pages.group("").add(middleware: SessionMiddleware(access: access)))
        refuseOtherMethods(
            on: pages,
            (openPages(Context.self) + guardedPages(Context.self)).map { ($0.method, $0.path) } + [
                (.get, "dashboard/summary")
            ])
        router.group("").add(middleware: ProblemMiddleware()).add(middleware: access)
            .on("dashboard/summary", method: .get) { _, _ in await dashboardSummary() }
    }

    private func add<Context: RequestContext>(_ routes: [PageRoute<Context>], to group: RouterGroup<Context>) {
        for route in routes {
            group.on(RouterPath(route.path), method: route.method) { request, context in
                try await route.answer(request, context)
            }
        }
    }

    private func openPages<Context: RequestContext>(_: Context.Type) -> [PageRoute<Context>] {
        [
            PageRoute(.get, "login") { request, _ in logInPage(request) },
            PageRoute(.post, "login") { request, _ in try await logIn(request) },
            PageRoute(.get, "dashboard/{version}/{file}") { _, context in
                try DashboardAsset.response(
                    context.parameters.require("file"), version: context.parameters.require("version"))
            },
        ]
    }

    private func guardedPages<Context: RequestContext>(_: Context.Type) -> [PageRoute<Context>] {
        [
            PageRoute(.get, "") { request, _ in try await clipsPage(request) },
            PageRoute(.post, "logout") { request, _ in try await logOut(request) },
            PageRoute(.get, "clips/{uid}") { request, context in try await clipPage(request, context.uid()) },
            PageRoute(.post, "clips/{uid}/{action}") { request, context in
                try await press(context.parameters.require("action"), request, context.uid())
            },
            PageRoute(.get, "deliveries/{id}") { request, context in
                try await deliveryPage(request, context.deliveryID())
            },
            PageRoute(.post, "deliveries/{id}/replay") { request, context in
                try await replay(request, context.deliveryID())
            },
        ]
    }

    func frame(_ title: String, script: String? = nil, _ request: Request) -> DashboardPage {
        DashboardPage(
            title: title, version: metrics.version, script: script,
            session: sessions?.session(of: request, at: clock.now()))
    }

    // MARK: Session

    private func logInPage(_ request: Request) -> Response {
        guard let sessions else { return .redirect(to: "/") }
        let next = Self.ownPath(request.uri.queryParameters["next"].map { String($0) })
        if sessions.session(of: request, at: clock.now()) != nil { return .redirect(to: next) }
        let isOut = request.uri.queryParameters["done"] == "logged-out"
        return frame("Log in", request).response(
            "login", ["next": .string(next), "problem": nil, "message": isOut ? "You are logged out." : nil])
    }

    private func logIn(_ request: Request) async throws -> Response {
        guard let sessions else { return .redirect(to: "/") }
        try AccessMiddleware<BasicRequestContext>.refuseOtherSites(request)
        let form = try await request.form()
        let next = Self.ownPath(form["next"])
        guard sessions.isToken(form["token"] ?? "") else {
            try await logIns.delayFailure(clock: clock)
            return frame("Log in", request).response(
                "login", ["next": .string(next), "problem": "This is not the admin token.", "message": nil],
                status: .forbidden)
        }
        var response = Response.redirect(to: next)
        response.headers[.setCookie] = cookie(
            sessions.begin(at: clock.now()), seconds: DashboardSessions.lifetime.components.seconds, request)
        return response
    }

    private func logOut(_ request: Request) async throws -> Response {
        _ = try await ownForm(request)
        var response = Response.redirect(to: "/login?done=logged-out")
        response.headers[.setCookie] = cookie("", seconds: 0, request)
        return response
    }

    private func cookie(_ value: String, seconds: Int64, _ request: Request) -> String {
        let isSecure = settings.isSecure || request.headers[.xForwardedProto]?.lowercased() == "https"
        return "\(DashboardSessions.cookieName)=\(value); Max-Age=\(seconds); Path=/; HttpOnly; SameSite=Strict"
            + (isSecure ? "; Secure" : "")
    }

    /// A form that one of our own pages has sent.
    private func ownForm(_ request: Request) async throws -> [String: String] {
        let form = try await request.form()
        if let sessions {
            guard let session = sessions.session(of: request, at: clock.now()),
                session.accepts(csrfToken: form["csrf"] ?? "")
            else { throw Problem(status: .forbidden, detail: "the form is not from this session: load its page again") }
        }
        return form
    }

    /// Where a log-in leads to; nowhere but here.
    static func ownPath(_ path: String?) -> String {
        guard let path, path.hasPrefix("/"), !path.hasPrefix("//"), path.utf8.count <= 500,
            path.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x5C })
        else { return "/" }
        return path
    }

    // MARK: Buttons

    private func press(_ action: String, _ request: Request, _ uid: ClipUID) async throws -> Response {
        guard let button = ClipButton(rawValue: action) else { throw Problem.noRoute(request) }
        _ = try await ownForm(request)
        switch button {
        case .retry: _ = try await retry(uid)
        case .enableMP4: _ = try await enableMP4(uid)
        case .upload: _ = try await uploadToR2(uid)
        }
        return .redirect(to: "/clips/\(uid)?done=\(action)")
    }

    private func replay(_ request: Request, _ id: Int64) async throws -> Response {
        let form = try await ownForm(request)
        _ = try await replayDelivery(id)
        let page = form["uid"].flatMap { ClipUID($0) }.map { "/clips/\($0)" } ?? "/deliveries/\(id)"
        return .redirect(to: "\(page)?done=replay")
    }

    /// What a redirect after a button says; only words of ours come out of a URL.
    func notice(_ request: Request) -> JSONValue {
        switch request.uri.queryParameters["done"].map({ String($0) }) {
        case "replay": "The delivery was fed through again."
        case let word?: JSONValue(ClipButton(rawValue: word)?.done)
        case nil: .null
        }
    }
}

/// What an operator can have done for a clip.
enum ClipButton: String, CaseIterable, Sendable {
    case retry
    case enableMP4 = "enable-mp4"
    case upload

    var label: String {
        switch self {
        case .retry: "Retry"
        case .enableMP4: "Enable MP4"
        case .upload: "Upload to R2 now"
        }
    }

    var done: String {
        switch self {
        case .retry: "The clip goes on where it failed."
        case .enableMP4: "The MP4 is being asked for."
        case .upload: "The next step towards R2 is due now."
        }
    }

    /// Whether it can do anything in this status.
    func serves(_ status: ClipStatus) -> Bool {
        switch self {
        case .retry: status == .error
        case .enableMP4: status <= .streamReady
        case .upload: (.waitForMP4 ... .r2Uploading).contains(status)
        }
    }
}

extension Request {
    private static let formBytesMax = 16 << 10

    /// A field of a form that was sent by GET, where a space is a plus sign.
    func formField(_ name: String) -> String? {
        (try? URLEncodedFormDecoder().decode([String: String].self, from: uri.query ?? ""))?[name]
    }

    /// The body as a form's fields.
    func form() async throws -> [String: String] {
        let text = String(decoding: try await bytes(atMost: Self.formBytesMax), as: UTF8.self)
        guard let fields = try? URLEncodedFormDecoder().decode([String: String].self, from: text) else {
            throw Problem.badRequest("the body is not a form")
        }
        return fields
    }
}

extension HTTPField.Name {
    static let xForwardedProto = HTTPField.Name("X-Forwarded-Proto")!  // A literal of token characters.
}
