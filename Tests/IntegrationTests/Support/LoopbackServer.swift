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
        let (ports, announce) = AsyncStream<Int>.makeStream()
        let router = Router(context: BasicRequestContext.self)
        router.add(middleware: Counting(count: count))
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: port)),
            onServerRunning: { announce.yield($0.localAddress?.port ?? 0) },
            logger: Logger(label: "upstream") { _ in SwiftLogNoOpLogHandler() })
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                try await application.run()
                return nil
            }
            group.addTask {
                for await port in ports { return try await body(LoopbackServer(port: port, count: count)) }
                return nil
            }
            defer { group.cancelAll() }
            while let finished = try await group.next() {
                if let value = finished { return value }
            }
            throw CancellationError()
        }
    }

    private struct Counting: RouterMiddleware {
        let count: NIOLockedValueBox<Int>

        @concurrent func handle(
            _ request: Request, context: BasicRequestContext,
            next: @concurrent (Request, BasicRequestContext) async throws -> Response
        ) async throws -> Response {
            count.withLockedValue { $0 += 1 }
            return Response(status: .internalServerError)
        }
    }
}
