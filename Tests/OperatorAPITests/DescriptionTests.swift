// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Testing

/// The OpenAPI description that the API gives of itself.
@Suite struct DescriptionTests {
    @Test func everyRouteIsDescribedAndReferencesHold() async throws {
        let world = World()
        try await world.serve { client in
            let answer = try await client.get("/openapi.json")
            #expect(answer.status == 200)
            #expect(answer.json.objectValue?["openapi"] == "3.1.0")
            let paths = try #require(answer.json.objectValue?["paths"]?.objectValue)
            let expected: Set<String> = [
                "/healthz", "/readyz", "/metrics", "/openapi.json", "/api/clips", "/api/clips/{uid}",
                "/api/clips/{uid}/signals", "/api/clips/{uid}/retry", "/api/clips/{uid}/explain",
                "/api/cloudflare/enable-mp4", "/api/cloudflare/upload-to-r2", "/api/deliveries", "/api/deliveries/{id}",
                "/api/deliveries/{id}/replay", "/api/events",
            ]
            #expect(Set(paths.keys) == expected)
            let components = try #require(answer.json.objectValue?["components"]?.objectValue)
            for reference in Self.references(in: answer.json) {
                let parts = reference.split(separator: "/").dropFirst(2).map(String.init)
                #expect(components[parts[0]]?.objectValue?[parts[1]] != nil, "\(reference) leads nowhere")
            }
        }
    }

    /// What is open says so; everything else asks for the token.
    @Test func onlyOpenRoutesNeedNoToken() async throws {
        let world = World()
        try await world.serve { client in
            let answer = try await client.get("/openapi.json")
            let paths = try #require(answer.json.objectValue?["paths"]?.objectValue)
            for (path, item) in paths {
                for (_, operation) in item.objectValue ?? [:] {
                    let isOpen = operation.objectValue?["security"] == []
                    #expect(isOpen == !path.hasPrefix("/api/"), "\(path)")
                }
            }
        }
    }

    private static func references(in value: JSONValue) -> [String] {
        switch value {
        case .object(let members):
            members.flatMap { name, member in
                name == "$ref" ? [member.stringValue ?? ""] : references(in: member)
            }
        case .array(let items): items.flatMap(references)
        case .null, .bool, .integer, .double, .string: []
        }
    }
}
