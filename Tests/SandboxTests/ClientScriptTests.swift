// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Sandbox
import Testing

/// Runs the checks with clients that others wrote: boto3, s3transfer and an OpenAPI validator.
@Suite struct ClientScriptTests {
    /// A Python that has boto3 and openapi-schema-validator; `deploy/test.sh` makes one.
    private static let python = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_PYTHON"]

    @Test(.enabled(if: python != nil, "CLIPBRIDGE_TEST_PYTHON names no Python"), .timeLimit(.minutes(3)))
    func clientsOfOthersAreServed() async throws {
        try await TestSandbox.run {
            $0.speed = 20
        } _: { sandbox in
            let root = URL(filePath: #filePath).deletingLastPathComponent()
            let process = Process()
            process.executableURL = URL(filePath: try #require(Self.python))
            process.arguments = [
                root.appending(path: "Clients/sandbox_clients.py").path(),
                root.appending(path: "../../fixtures/cloudflare-stream-openapi.json").standardizedFileURL.path(),
            ]
            var environment = ProcessInfo.processInfo.environment
            for (name, value) in sandbox.settings.lines { environment[name] = value }
            process.environment = environment
            let status = try await withCheckedThrowingContinuation { continuation in
                process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
                do {
                    try process.run()
                } catch {
                    continuation.resume(throwing: error)
                }
            }
            #expect(status == 0, "the script's output says what failed")
        }
    }
}
