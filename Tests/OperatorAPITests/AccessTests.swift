// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import HTTPTypes
import NIOConcurrencyHelpers
import Testing

@Suite struct AccessTests {
    private static let routes: [(HTTPRequest.Method, String)] = [
        (.get, "/api/clips"), (.post, "/api/clips"), (.get, "/api/clips/a"), (.post, "/api/clips/a/signals"),
        (.post, "/api/clips/a/retry"), (.get, "/api/clips/a/explain"), (.post, "/api/cloudflare/enable-mp4"),
        (.post, "/api/cloudflare/upload-to-r2"), (.get, "/api/deliveries"), (.get, "/api/deliveries/1"),
        (.post, "/api/deliveries/1/replay"), (.get, "/api/events"), (.get, "/api/nothing"), (.delete, "/api/clips"),
    ]

    @Test(arguments: [
        "", "Bearer", "Bearer ", "Bearer wrong", "Bearer let me inn", "Basic let me in",
        "let me in",
    ])
    func everyRouteNeedsTheToken(_ authorization: String) async throws {
        try await World().serve { client in
            for (method, path) in Self.routes {
                let answer = try await client.send(method, path, headers: [.authorization: authorization])
                client.expectProblem(answer, 401)
                #expect(answer.headers[.wwwAuthenticate]?.hasPrefix("Bearer") == true)
            }
        }
    }

    @Test(arguments: ["Bearer let me in", "bearer let me in", "BEARER  let me in"])
    func tokenLetsIn(_ authorization: String) async throws {
        try await World().serve { client in
            let answer = try await client.get("/api/clips", headers: [.authorization: authorization])
            #expect(answer.status == 200)
        }
    }

    @Test func twoTokensAreNone() async throws {
        try await World().serve { client in
            var headers: HTTPFields = [:]
            headers[values: .authorization] = ["Bearer \(World.token)", "Bearer wrong"]
            client.expectProblem(try await client.get("/api/clips", headers: headers), 401)
        }
    }

    @Test func tokenNeedsNoLoopbackHost() async throws {
        try await World().serve { client in
            let headers: HTTPFields = [.testAuthority: "bridge.example.com", .secFetchSite: "cross-site"]
            let answer = try await client.get("/api/clips", headers: headers)
            #expect(answer.status == 200)
        }
    }

    @Test(arguments: [
        "localhost", "localhost:8787", "LOCALHOST:8787", "127.0.0.1", "127.0.0.1:8787", "127.1.2.3", "[::1]:8787",
        "[::1]",
    ])
    func withoutATokenLoopbackIsServed(_ host: String) async throws {
        try await World(adminToken: nil).serve { client in
            let answer = try await client.get("/api/clips", headers: [.testAuthority: host])
            #expect(answer.status == 200)
        }
    }

    @Test(arguments: [
        "", "bridge.example.com", "127.0.0.1.example.com", "localhost:80@example.com", "localhost.example.com:80",
        "10.0.0.1", "0.0.0.0:8787",
        "[::2]:8787", "127.0.0.1x", "1270.0.0.1",
    ])
    func withoutATokenOtherHostsAreRefused(_ host: String) async throws {
        try await World(adminToken: nil).serve { client in
            for (method, path) in Self.routes {
                client.expectProblem(try await client.send(method, path, headers: [.testAuthority: host]), 403)
            }
        }
    }

    @Test(arguments: ["cross-site", "same-site", "Cross-Site", "anything"])
    func withoutATokenWhatABrowserMarksAsForeignIsRefused(_ site: String) async throws {
        try await World(adminToken: nil).serve { client in
            client.expectProblem(try await client.get("/api/clips", headers: [.secFetchSite: site]), 403)
        }
    }

    @Test(arguments: ["https://evil.example", "null", "http://localhost.evil.example", "file://", ""])
    func withoutATokenForeignOriginsAreRefused(_ origin: String) async throws {
        try await World(adminToken: nil).serve { client in
            client.expectProblem(try await client.post("/api/clips", [:], headers: [.origin: origin]), 403)
        }
    }

    @Test func withoutATokenOurOwnPagesAreServed() async throws {
        try await World(adminToken: nil).serve { client in
            for site in ["same-origin", "none"] {
                let headers: HTTPFields = [.secFetchSite: site, .origin: "http://127.0.0.1:8787"]
                let answer = try await client.get("/api/clips", headers: headers)
                #expect(answer.status == 200)
            }
        }
    }

    @Test func healthAndReadinessNeedNoToken() async throws {
        try await World().serve { client in
            let headers: HTTPFields = [.authorization: "", .testAuthority: "bridge.example.com"]
            let health = try await client.get("/healthz", headers: headers)
            #expect(health["status"] == "ok")
            let readiness = try await client.get("/readyz", headers: headers)
            #expect(readiness["status"] == "ready")
        }
    }

    @Test func unknownPathsAndMethodsAreProblemsToo() async throws {
        try await World().serve { client in
            client.expectProblem(try await client.get("/api/nothing"), 404)
            client.expectProblem(try await client.get("/api/clips/a/nothing"), 404)
            let wrong = try await client.send(.delete, "/api/clips")
            client.expectProblem(wrong, 405)
            #expect(wrong.headers[.allow] == "GET, POST")
            client.expectProblem(try await client.get("/api/clips/a/retry"), 405)
        }
    }
}
