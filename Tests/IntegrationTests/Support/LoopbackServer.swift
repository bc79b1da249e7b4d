// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import Logging
import NIOConcurrencyHelpers
import NIOCore

/// An upstream that nobody should ask: it answers 500 and counts.
struct LoopbackServer: Sendable {
    let port: Int
    private let count: NIOLockedValueBox<Int>

    var requests: Int { count.withLockedValue { $0 } }

    static func run<Value: Sendable>(
        port: Int = 0, _ body: @escaping @Sendable (LoopbackServer) async throws -> Value
    ) async throws -> Value {
        let count = NIOLockedValueBox(0)
        return try await serveOnLoopback(port: port) { _ in
            count.withLockedValue { $0 += 1 }
            return Response(status: .internalServerError)
        } while: { port in
            try await body(LoopbackServer(port: port, count: count))
        }
    }
}

/// Answers every request on a loopback port, for as long as `body` runs.
func serveOnLoopback<Value: Sendable>(
    port: Int = 0, _ answer: @escaping @Sendable (Request) async throws -> Response,
    while body: @escaping @Sendable (Int) async throws -> Value
) async throws -> Value {
    let (ports, announce) = AsyncStream<Int>.makeStream()
    let application = Application(
        responder: CallbackResponder<BasicRequestContext> { request, _ in try await answer(request) },
        configuration: .init(address: .hostname("127.0.0.1", port: port)),
        onServerRunning: { announce.yield($0.localAddress?.port ?? 0) },
        logger: Logger(label: "upstream") { _ in SwiftLogNoOpLogHandler() })
    return try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask {
            try await application.run()
            return nil
        }
        group.addTask {
            for await port in ports { return try await body(port) }
            return nil
        }
        defer { group.cancelAll() }
        while let finished = try await group.next() {
            if let value = finished { return value }
        }
        throw CancellationError()
    }
}
