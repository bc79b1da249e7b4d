// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import HTTPTypes
import Testing

/// Causes that an operator has to take away: words that say which, and a retry that completes the clip.
@Suite(.timeLimit(.minutes(10))) struct OperatorErrorTests {
    /// Runs into the error with wrong settings, restarts with the right ones, and retries.
    private func expectRecovery(
        wrong: [String: String], words: [String], downloads: Int64 = 1
    ) async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox, wrong)
            let uid = try await sandbox.copy("sample:6MB")
            try await bridge.register(uid)
            let stopped = try await bridge.clip(uid, reaches: .error)
            let message = try #require(stopped.detail(.errorMessage))
            for word in words { #expect(message.contains(word), "\(message)") }
            let explained = try await world.run(["clips", "explain", uid, "--server", bridge.url])
            #expect(explained.output.contains(message), "\(explained.output)")

            bridge.program.send(SIGTERM)
            #expect(try await bridge.program.exitCode(within: .seconds(30)) == 0)
            let next = try await world.restart(bridge, sandbox)
            try await retry(uid, next, world)
            let clip = try await next.clip(uid, reaches: .complete)
            expectOnlyForward(clip.history)
            let object = try await world.download(try #require(clip.detail(.r2PublicURL)))
            #expect(try await object == sandbox.source(of: uid))
            #expect(try await sandbox.downloads(of: uid).full == downloads)
            #expect(clip.details[.errorMessage] == nil && clip.details[.failedFrom] == nil)
        }
    }

    private func retry(_ uid: String, _ bridge: BridgeProcess, _ world: World) async throws {
        let retried = try await world.run(["clips", "retry", uid, "--server", bridge.url])
        #expect(retried.status == 0, "\(retried.error)")
    }

    @Test func wrongCloudflareTokenIsNamed() async throws {
        try await expectRecovery(wrong: ["CLOUDFLARE_API_TOKEN": "wrong"], words: ["CLOUDFLARE_API_TOKEN"])
    }

    @Test func missingBucketIsNamedAndTheSpoolIsKept() async throws {
        try await expectRecovery(
            wrong: ["R2_BUCKET_NAME": "no-such-bucket"], words: ["R2_BUCKET_NAME", "\"no-such-bucket\""])
    }

    @Test func wrongStorageKeyIsNamed() async throws {
        try await expectRecovery(wrong: ["R2_SECRET_ACCESS_KEY": "wrong"], words: ["R2_SECRET_ACCESS_KEY"])
    }

    @Test func spoolThatIsTooSmallIsNamed() async throws {
        // The refused download is cut off at its head, and not paid for as a whole; the server counts the request.
        try await expectRecovery(
            wrong: ["CLIPBRIDGE_SPOOL_MAX_BYTES": "1MB"], words: ["CLIPBRIDGE_SPOOL_MAX_BYTES", "6000000"], downloads: 2
        )
    }

    @Test func foreignDownloadHostIsNamed() async throws {
        try await expectRecovery(
            wrong: ["CLIPBRIDGE_DOWNLOAD_HOSTS": "*.cloudflarestream.com"], words: ["CLIPBRIDGE_DOWNLOAD_HOSTS"])
    }

    @Test func mp4ThatNeverComesIsAskedForTwice() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox, ["CLIPBRIDGE_MP4_DEADLINE": "1s"])
            let uid = try await sandbox.copy("sample:1MB", ["meta": ["sandbox_mp4": "never"]])
            try await bridge.register(uid)
            let stopped = try await bridge.clip(uid, reaches: .error)
            #expect(stopped.detail(.errorCode) == "mp4_deadline")
            let message = try #require(stopped.detail(.errorMessage))
            #expect(message.contains("did not make the MP4") && message.contains("2 times"), "\(message)")
            // Cloudflare comes to its senses.
            _ = try await sandbox.api(.post, "/\(uid)", ["meta": [:]])
            try await retry(uid, bridge, world)
            expectOnlyForward(try await bridge.clip(uid, reaches: .complete).history)
        }
    }

    @Test func videoThatCanNotBeEncodedIsSaidInCloudflaresWords() async throws {
        try await World.run { world in
            let sandbox = try await world.sandbox()
            let bridge = try await world.bridge(sandbox)
            try await sandbox.subscribe(bridge)
            let uid = try await sandbox.copy("sample:1MB", ["meta": ["sandbox_error": "ERR_MALFORMED_VIDEO"]])
            let stopped = try await bridge.clip(uid, reaches: .error)
            #expect(stopped.detail(.errorCode) == "ERR_MALFORMED_VIDEO")
            #expect(stopped.detail(.errorMessage)?.contains("export it anew") == true)
        }
    }
}
