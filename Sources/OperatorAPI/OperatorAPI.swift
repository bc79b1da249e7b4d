// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
package import ClipStore
import HTTPTypes
package import Hummingbird

/// What the API has done by others.
package struct OperatorActions: Sendable {
    package var submit: @Sendable (Signal) async throws -> LedgerEntry
    /// Creates the clip if there is none.
    package var register: @Sendable (Signal) async throws -> LedgerEntry
    /// Work was made due, or a signal stored.
    package var wake: @Sendable () -> Void
    /// Asks Cloudflare where one video is.
    package var checkVideo: @Sendable (ClipUID) async -> ActionOutcome
    /// Reads a stored delivery's body anew.
    package var interpret: @Sendable ([UInt8]) -> (outcome: DeliveryOutcome, signal: Signal?)

    package init(
        submit: @escaping @Sendable (Signal) async throws -> LedgerEntry,
        register: @escaping @Sendable (Signal) async throws -> LedgerEntry,
        wake: @escaping @Sendable () -> Void,
        checkVideo: @escaping @Sendable (ClipUID) async -> ActionOutcome,
        interpret: @escaping @Sendable ([UInt8]) -> (outcome: DeliveryOutcome, signal: Signal?)
    ) {
        self.submit = submit
        self.register = register
        self.wake = wake
        self.checkVideo = checkVideo
        self.interpret = interpret
    }
}

/// The operator's JSON API, the dashboard, and the open routes that tell how the bridge does.
package struct OperatorAPI<Store: ClipStore>: Sendable {
    let store: Store
    let actions: OperatorActions
    let policy: LifecyclePolicy
    let clock: any WallClock
    let events: EventFeed<Store>
    let metrics: MetricsPage
    let settings: DashboardSettings
    let sessions: DashboardSessions?
    let logIns = LogInLimit()
    private let adminToken: String?

    package init(
        store: Store, actions: OperatorActions, events: EventFeed<Store>, policy: LifecyclePolicy,
        metrics: MetricsPage, adminToken: String?, dashboard: DashboardSettings = DashboardSettings(),
        clock: any WallClock = SystemWallClock()
    ) {
        self.store = store
        self.actions = actions
        self.events = events
        self.policy = policy
        self.metrics = metrics
        self.settings = dashboard
        self.sessions = adminToken.map { DashboardSessions(adminToken: $0) }
        self.adminToken = adminToken
        self.clock = clock
    }

    package func addRoutes<Context: RequestContext>(to router: some RouterMethods<Context>) {
        let access = AccessMiddleware<Context>(adminToken: adminToken, sessions: sessions, clock: clock)
        let (open, guarded) = (openRoutes(access), routes(Context.self))
        let outside = router.group("").add(middleware: ProblemMiddleware())
        for route in open { add(route, to: outside) }
        let description = APIDescription(
            version: metrics.version,
            routes: (open + [Self.descriptionRoute(.null)]).map { ($0.method, $0.path, $0.description) }
                + guarded.map { ($0.method, "api/\($0.path)", $0.description) }
        ).json
        add(Self.descriptionRoute(description), to: outside)
        refuseOtherMethods(on: outside, open + [Self.descriptionRoute(.null)])

        let api = router.group("api").add(middleware: ProblemMiddleware()).add(middleware: access).add(
            middleware: TraceMiddleware())
        for route in guarded { add(route, to: api) }
        refuseOtherMethods(on: api, guarded)
        refuseOtherPaths(below: api)
        addDashboard(to: router, access: access)
    }

    /// A route is served as it is described.
    private struct Route<Context: RequestContext>: Sendable {
        var method: HTTPRequest.Method
        /// With parameters in braces.
        var path: String
        var description: RouteDescription
        var answer: @Sendable (Request, Context) async throws -> Response

        init(
            _ method: HTTPRequest.Method, _ path: String, _ description: RouteDescription,
            _ answer: @escaping @Sendable (Request, Context) async throws -> Response
        ) {
            (self.method, self.path, self.description, self.answer) = (method, path, description, answer)
        }
    }

    private func add<Context: RequestContext>(_ route: Route<Context>, to group: RouterGroup<Context>) {
        group.on(RouterPath(route.path), method: route.method) { request, context in
            try await route.answer(request, context)
        }
    }

    private func openRoutes<Context: RequestContext>(_ access: AccessMiddleware<Context>) -> [Route<Context>] {
        [
            Route(.get, "healthz", .health) { _, _ in .json(["status": "ok"]) },
            Route(.get, "readyz", .readiness) { request, _ in try await readyz(tellsReason: access.admits(request)) },
            Route(.get, "metrics", .metrics) { _, _ in await metrics.response() },
        ]
    }

    private static func descriptionRoute<Context: RequestContext>(_ description: JSONValue) -> Route<Context> {
        Route(.get, "openapi.json", .description) { _, _ in .json(description) }
    }

    private func routes<Context: RequestContext>(_: Context.Type) -> [Route<Context>] {
        [
            Route(.get, "clips", .listClips) { request, _ in try await listClips(request) },
            Route(.post, "clips", .registerClip) { request, _ in try await registerClip(request) },
            Route(.get, "clips/{uid}", .showClip) { _, context in try await showClip(context.uid()) },
            Route(.post, "clips/{uid}/signals", .signal) { request, context in
                try await signal(request, context.uid())
            },
            Route(.post, "clips/{uid}/retry", .retry) { _, context in try await retry(context.uid()) },
            Route(.get, "clips/{uid}/explain", .explain) { _, context in try await explain(context.uid()) },
            Route(.post, "cloudflare/enable-mp4", .enableMP4) { request, _ in try await enableMP4(videoUID(request)) },
            Route(.post, "cloudflare/upload-to-r2", .uploadToR2) { request, _ in try await uploadToR2(videoUID(request))
            },
            Route(.get, "deliveries", .listDeliveries) { request, _ in try await listDeliveries(request) },
            Route(.get, "deliveries/{id}", .showDelivery) { _, context in
                try await showDelivery(context.deliveryID())
            },
            Route(.post, "deliveries/{id}/replay", .replayDelivery) { _, context in
                try await replayDelivery(context.deliveryID())
            },
            Route(.get, "events", .events) { request, _ in try await streamEvents(request) },
        ]
    }

    /// Those of RFC 9110 and its companions; the router knows no "any".
    private static var methods: [HTTPRequest.Method] {
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"]
            .compactMap { HTTPRequest.Method($0) }
    }

    /// Other methods on the routes' paths.
    private func refuseOtherMethods<Context: RequestContext>(
        on group: RouterGroup<Context>, _ routes: [Route<Context>]
    ) {
        refuseOtherMethods(on: group, routes.map { ($0.method, $0.path) })
    }

    func refuseOtherMethods<Context: RequestContext>(
        on group: RouterGroup<Context>, _ routes: [(method: HTTPRequest.Method, path: String)]
    ) {
        for (path, served) in Dictionary(grouping: routes, by: \.path) {
            let allowed = served.map(\.method)
            for method in Self.methods where !allowed.contains(method) {
                group.on(RouterPath(path), method: method) { _, _ -> Response in
                    throw Problem.methodNotAllowed(allowed)
                }
            }
        }
    }

    /// Other paths: problem details as well, and only for those who may come in.
    private func refuseOtherPaths<Context: RequestContext>(below api: RouterGroup<Context>) {
        for method in Self.methods {
            api.on("**", method: method) { request, _ -> Response in throw Problem.noRoute(request) }
        }
    }

    /// - Parameter tellsReason: for operators alone, because it may name hosts, users and files.
    private func readyz(tellsReason: Bool) async throws -> Response {
        do {
            try await store.checkReady()
            return .json(["status": "ready"])
        } catch {
            throw Problem.unavailable(tellsReason ? "the store is not ready: \(error)" : "the store is not ready")
        }
    }

    func clip(_ uid: ClipUID) async throws -> ClipRecord {
        guard let clip = try await store.read({ try $0.clip(uid) }) else { throw Problem.unknownClip(uid.rawValue) }
        return clip
    }

    func script() -> LedgerScript { LedgerScript(policy: policy, now: clock.now()) }
}

extension RequestContext {
    /// No clip has a uid that is none.
    func uid() throws -> ClipUID {
        let text = try parameters.require("uid")
        guard let uid = ClipUID(text) else { throw Problem.unknownClip(text) }
        return uid
    }

    func deliveryID() throws -> Int64 {
        let text = try parameters.require("id")
        guard let id = Int64(text), id > 0 else {
            throw Problem.notFound("there is no delivery \"\(text.prefix(64))\"")
        }
        return id
    }
}
