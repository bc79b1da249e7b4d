// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Hummingbird
import Logging

/// What the server that clipbridge is built on does at most: it reads a post and sends it back. A benchmark's peer.
@main
enum Echo {
    static func main() async throws {
        let router = Router()
        router.post("webhooks/cloudflare-stream") { request, _ in
            let body = try await request.body.collect(upTo: 256 << 10)
            // wrk's script counts answers that say so.
            return Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: ResponseBody { writer in
                    try await writer.write(body)
                    try await writer.write(ByteBuffer(string: #"{"outcome":"accepted"}"#))
                    try await writer.finish(nil)
                })
        }
        var logger = Logger(label: "echo")
        logger.logLevel = .error
        let port = ProcessInfo.processInfo.environment["PORT"].flatMap(Int.init) ?? 8_080
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: port)), logger: logger)
        try await application.runService()
    }
}
