// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// A server that does with each connection's bytes exactly what its script says, right or wrong.
///
/// Plain channels and not `NIOAsyncChannel`, which traps on a connection that is accepted while the listener closes.
final class ByteServer: Sendable {
    typealias Script = @Sendable (inout ByteConnection) async throws -> Void

    let port: Int
    private let listener: any Channel
    private let running: NIOLockedValueBox<[Task<Void, Never>]>

    var url: String { "http://127.0.0.1:\(port)" }
    var connections: Int { running.withLockedValue { $0.count } }

    private init(_ script: @escaping Script) async throws {
        let running = NIOLockedValueBox<[Task<Void, Never>]>([])
        self.running = running
        listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .serverChannelOption(.backlog, value: 512)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (chunks, continuation) = AsyncStream.makeStream(of: [UInt8].self)
                    try channel.pipeline.syncOperations.addHandler(ChunkHandler(continuation))
                    let task = Task { await Self.run(script, on: channel, chunks) }
                    running.withLockedValue { $0.append(task) }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = listener.localAddress!.port!
    }

    /// Serves while `body` runs; every connection runs `script` from its start.
    static func serve<Value: Sendable>(
        _ script: @escaping Script,
        while body: @Sendable (ByteServer) async throws -> Value
    ) async throws -> Value {
        let server = try await ByteServer(script)
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(server))
        } catch {
            result = .failure(error)
        }
        try? await server.listener.close()
        for task in server.running.withLockedValue({ $0 }) {
            task.cancel()
            await task.value
        }
        return try result.get()
    }

    private static func run(_ script: Script, on channel: any Channel, _ chunks: AsyncStream<[UInt8]>) async {
        var connection = ByteConnection(channel: channel, iterator: chunks.makeAsyncIterator())
        // A peer that goes away is part of many tests and no failure of the server's.
        try? await script(&connection)
        try? await channel.close()
    }
}

/// Hands a connection's bytes over to its script.
private final class ChunkHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let continuation: AsyncStream<[UInt8]>.Continuation

    init(_ continuation: AsyncStream<[UInt8]>.Continuation) {
        self.continuation = continuation
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        continuation.yield([UInt8](buffer: unwrapInboundIn(data)))
    }

    func channelInactive(context: ChannelHandlerContext) {
        continuation.finish()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// One connection of a `ByteServer`.
struct ByteConnection {
    fileprivate let channel: any Channel
    fileprivate var iterator: AsyncStream<[UInt8]>.AsyncIterator
    private var received: [UInt8] = []

    fileprivate init(channel: any Channel, iterator: AsyncStream<[UInt8]>.AsyncIterator) {
        self.channel = channel
        self.iterator = iterator
    }

    /// The next request with its body as stated by `Content-Length`; nil when the peer is done.
    mutating func readRequest() async -> RawRequest? {
        while true {
            if let head = RawRequest.head(in: received) {
                let length = Int(RawRequest(head: head).header("Content-Length") ?? "") ?? 0
                let end = head.utf8.count + 4 + length
                if received.count >= end {
                    let body = Array(received[(end - length)..<end])
                    received.removeFirst(end)
                    return RawRequest(head: head, body: body)
                }
            }
            guard let chunk = await iterator.next(isolation: #isolation) else { return nil }
            received += chunk
        }
    }

    func send(_ text: String) async throws {
        try await channel.writeAndFlush(ByteBuffer(string: text))
    }

    func send(_ bytes: [UInt8]) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
    }

    /// Closes with RST instead of FIN.
    func reset() async throws {
        // Every channel over a socket is one.
        let options = channel as! any SocketOptionProvider
        try await options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        try await channel.close()
    }

    /// Says nothing more and waits until the peer has gone.
    mutating func hold() async {
        while await iterator.next(isolation: #isolation) != nil {}
    }

    /// Answers every request of the connection in the same way.
    mutating func answerAll(_ answer: String) async throws {
        while await readRequest() != nil { try await send(answer) }
    }
}

/// A request as it was on the wire.
struct RawRequest: Sendable {
    /// Without the empty line at its end.
    var head: String
    var body: [UInt8] = []

    /// As in `GET /target HTTP/1.1`.
    var target: String { head.split(separator: " ").dropFirst().first.map(String.init) ?? "" }

    var lines: [String] { head.split(separator: "\r\n").map(String.init) }

    func header(_ name: String) -> String? {
        let prefix = name.lowercased() + ":"
        return lines.dropFirst().first { $0.lowercased().hasPrefix(prefix) }
            .map { String($0.dropFirst(prefix.count).drop { $0 == " " }) }
    }

    static func head(in bytes: [UInt8]) -> String? {
        let end: [UInt8] = [13, 10, 13, 10]
        guard bytes.count >= 4, let start = (0...(bytes.count - 4)).first(where: { Array(bytes[$0..<($0 + 4)]) == end })
        else { return nil }
        return String(decoding: bytes[..<start], as: UTF8.self)
    }
}

/// A complete answer with the right length.
func answer(_ body: String, status: String = "200 OK", extra: String = "") -> String {
    "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(extra)\r\n\(body)"
}
