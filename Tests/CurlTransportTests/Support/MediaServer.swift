// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// A well-behaved server: `PUT /hash` answers the SHA-256 of the body, `GET /bytes/<n>` that many patterned bytes.
enum MediaServer {
    static func serve<Value: Sendable>(while body: @Sendable (String) async throws -> Value) async throws -> Value {
        let router = Router()
        router.put("hash") { request, _ in
            var hash = SHA256()
            for try await buffer in request.body { hash.update(data: [UInt8](buffer: buffer)) }
            return hash.finalize().map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        }
        router.get("bytes/:count") { _, context in
            let count = try context.parameters.require("count", as: Int.self)
            return Response(status: .ok, body: .init(byteBuffer: ByteBuffer(bytes: patterned(count))))
        }
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        let app = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { continuation.yield($0.localAddress!.port!) },
            logger: Logger(label: "media", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await app.run() }
            let port = await ports.first { _ in true }
            let value = try await body("http://127.0.0.1:\(port!)")
            group.cancelAll()
            return value
        }
    }
}

func sha256(_ bytes: [UInt8]) -> String {
    SHA256.hash(data: bytes).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
}
