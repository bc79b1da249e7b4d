// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import FoundationEssentials
import Logging
import NIOCore
import OutboundHTTP
import ServiceLifecycle
import Testing

@testable import Sandbox

@Suite struct SandboxTests {
    @Test func theSettingsComeInTheContractsOrder() async throws {
        try await TestSandbox.run { sandbox in
            #expect(
                sandbox.settings.lines.map(\.name) == [
                    "CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_WEBHOOK_SECRET",
                    "CLOUDFLARE_API_BASE", "R2_ACCOUNT_ID", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY",
                    "R2_BUCKET_NAME", "R2_ENDPOINT", "R2_PUBLIC_URL", "CLIPBRIDGE_DOWNLOAD_HOSTS",
                ])
            #expect(sandbox.settings.port > 0)
            #expect(sandbox.settings.text.contains("R2_ENDPOINT=http://127.0.0.1:\(sandbox.settings.port)\n"))
        }
    }

    @Test func aTakenPortIsToldToBothSides() async throws {
        try await TestSandbox.run { first in
            let folder = try TemporaryFolder()
            let logger = Logger(label: "sandbox", factory: { _ in SwiftLogNoOpLogHandler() })
            let second = try Sandbox(
                configuration: SandboxConfiguration(port: first.settings.port, dataDirectory: folder.path),
                transport: first.transport, logger: logger)
            await #expect(throws: IOError.self) { try await second.run() }
            await #expect(throws: IOError.self) { try await second.settings }
        }
    }

    @Test(.timeLimit(.minutes(1))) func itEndsGracefullyWithConnectionsOpen() async throws {
        let folder = try TemporaryFolder()
        let logger = Logger(label: "sandbox", factory: { _ in SwiftLogNoOpLogHandler() })
        let transport = try CurlTransport(logger: logger)
        var configuration = SandboxConfiguration(dataDirectory: folder.path)
        configuration.faults = [FaultSpec(route: .publicBucket, kind: .stall(after: 0))]
        let sandbox = try Sandbox(configuration: configuration, transport: transport, logger: logger)
        let group = ServiceGroup(
            configuration: .init(services: [.init(service: sandbox)], gracefulShutdownSignals: [], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let settings = try await sandbox.settings
            // One connection is kept open and idle, another hangs in a request.
            _ = try await transport.send(.init(url: settings.apiBase))
            tasks.addTask { _ = try? await transport.send(.init(url: settings.publicURL + "/a", limits: .file)) }
            _ = try await transport.send(.init(url: settings.apiBase))
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        await transport.stop()
    }
}

/// A folder that is gone with its last owner.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "sandbox-\(UInt64.random(in: 0 ... .max))").path()
        try DataFolder.makeFolder(path)
    }

    deinit { DataFolder.remove(path) }
}
