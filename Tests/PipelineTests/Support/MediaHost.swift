// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// An MP4 host that answers each request just as its script says, right or wrong, and counts what it gives out.
final class MediaHost: Sendable {
    typealias Script = @Sendable (Request) -> Answer

    struct Request: Sendable {
        /// From 1 on.
        var number: Int
        var target: String
        /// Header lines as they came.
        var fields: [String]
        /// Where the wanted range begins; nil without one.
        var offset: Int?
        var ifRange: String?
        /// Body bytes that went out in answer to it.
        var bytesServed = 0
    }

    let port: Int
    private let log: MediaLog
    private let listener: any Channel

    /// As a list of allowed hosts names it.
    var authority: String { "127.0.0.1:\(port)" }
    var url: String { "http://\(authority)/clip/downloads/default.mp4" }
    var requests: [Request] { log.requests }
    /// Where each request wanted to begin.
    var offsets: [Int] { requests.map { $0.offset ?? 0 } }
    var connections: Int { log.connections }

    /// Serves while `body` runs.
    static func serve(
        _ script: @escaping Script, while body: @Sendable (MediaHost) async throws -> Void
    ) async throws {
        let host = try await MediaHost(script)
        do {
            try await body(host)
        } catch {
            try? await host.close()
            throw error
        }
        try await host.close()
    }

    private init(_ script: @escaping Script) async throws {
        let log = MediaLog()
        self.log = log
        listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                log.opened(channel)
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(MediaHandler(log, script))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = listener.localAddress!.port!
    }

    private func close() async throws {
        try await listener.close()
        for channel in log.channels { try? await channel.close() }
    }
}

extension MediaHost {
    /// What goes out for one request.
    struct Answer: Sendable {
        enum Framing: Sendable {
            /// `Content-Length` as it is given here, true or not.
            case length(String)
            case chunked
            /// Only the connection's end tells the body's.
            case untilClosed
        }

        enum End: Sendable, Equatable {
            case open, closed, reset
        }

        var status: String
        var fields: [String] = []
        var framing: Framing
        var body: [UInt8]
        var end = End.open
        /// Whether the body lacks its end.
        private(set) var isCut = false

        init(_ status: String, _ fields: [String?] = [], body: [UInt8] = []) {
            self.status = status
            self.fields = fields.compactMap(\.self)
            self.body = body
            framing = .length(String(body.count))
        }

        /// The same answer, but the connection comes to this end when so many bytes of the body are out; one that stays
        /// open is silent from there on.
        func cut(after count: Int, _ end: End = .closed) -> Answer {
            var answer = self
            answer.body = Array(body.prefix(count))
            answer.end = end
            answer.isCut = true
            return answer
        }

        func framed(_ framing: Framing) -> Answer {
            var answer = self
            answer.framing = framing
            if case .untilClosed = framing, end == .open { answer.end = .closed }
            return answer
        }

        fileprivate var head: String {
            let length: [String] =
                switch framing {
                case .length(let text): ["Content-Length: \(text)"]
                case .chunked: ["Transfer-Encoding: chunked"]
                case .untilClosed: ["Connection: close"]
                }
            return (["HTTP/1.1 \(status)"] + fields + length).map { "\($0)\r\n" }.joined() + "\r\n"
        }

        private static let pieceBytes = 128 << 10

        /// The body as it is written, with how many of its own bytes each piece holds.
        fileprivate var pieces: [(buffer: ByteBuffer, count: Int)] {
            var pieces: [(ByteBuffer, Int)] = stride(from: 0, to: body.count, by: Self.pieceBytes).map { start in
                let bytes = body[start..<min(start + Self.pieceBytes, body.count)]
                guard case .chunked = framing else { return (ByteBuffer(bytes: bytes), bytes.count) }
                var buffer = ByteBuffer(string: "\(String(bytes.count, radix: 16))\r\n")
                buffer.writeBytes(bytes)
                buffer.writeString("\r\n")
                return (buffer, bytes.count)
            }
            if case .chunked = framing, !isCut { pieces.append((ByteBuffer(string: "0\r\n\r\n"), 0)) }
            return pieces
        }
    }
}

/// The file that a host has to give.
struct MediaFile: Sendable {
    var bytes: [UInt8]
    var etag: String?

    /// Bytes that differ from place to place, and between seeds.
    init(_ count: Int, seed: UInt8 = 1, etag: String? = "\"one\"") {
        // Its length is prime, so it falls together with no part's and no buffer's size.
        let period = (0..<65_521).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) ^ seed }
        bytes = []
        bytes.reserveCapacity(count)
        while bytes.count < count { bytes += period.prefix(count - bytes.count) }
        self.etag = etag
    }

    private var tag: String? { etag.map { "ETag: \($0)" } }

    var whole: MediaHost.Answer { MediaHost.Answer("200 OK", [tag, "Accept-Ranges: bytes"], body: bytes) }

    func part(from first: Int, to end: Int? = nil) -> MediaHost.Answer {
        let end = min(end ?? bytes.count, bytes.count)
        let range = "Content-Range: bytes \(first)-\(end - 1)/\(bytes.count)"
        return MediaHost.Answer("206 Partial Content", [tag, range], body: Array(bytes[first..<end]))
    }

    /// As a good host answers.
    func answer(_ request: MediaHost.Request) -> MediaHost.Answer {
        guard let offset = request.offset, request.ifRange == nil || request.ifRange == etag else { return whole }
        guard offset < bytes.count else {
            return MediaHost.Answer("416 Range Not Satisfiable", ["Content-Range: bytes */\(bytes.count)"])
        }
        return part(from: offset)
    }
}

/// What came and what went.
private final class MediaLog: Sendable {
    private struct State: Sendable {
        var requests: [MediaHost.Request] = []
        var channels: [any Channel] = []
    }

    private let state = NIOLockedValueBox(State())

    var requests: [MediaHost.Request] { state.withLockedValue(\.requests) }
    var channels: [any Channel] { state.withLockedValue(\.channels) }
    var connections: Int { channels.count }

    func opened(_ channel: any Channel) { state.withLockedValue { $0.channels.append(channel) } }

    func received(_ head: Substring) -> MediaHost.Request {
        let lines = head.split(separator: "\r\n").map(String.init)
        func field(_ name: String) -> String? {
            lines.first { $0.lowercased().hasPrefix("\(name): ") }.map { String($0.dropFirst(name.count + 2)) }
        }
        let range = field("range")?.wholeMatch(of: /bytes=(\d+)-/).flatMap { Int($0.output.1) }
        return state.withLockedValue { state in
            let request = MediaHost.Request(
                number: state.requests.count + 1, target: String(lines[0].split(separator: " ")[1]),
                fields: Array(lines.dropFirst()), offset: range, ifRange: field("if-range"))
            state.requests.append(request)
            return request
        }
    }

    func served(_ count: Int, by request: MediaHost.Request) {
        state.withLockedValue { $0.requests[request.number - 1].bytesServed += count }
    }
}

/// Takes a connection's requests, none of which has a body, and answers them.
private final class MediaHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let log: MediaLog
    private let script: MediaHost.Script
    private var received = ""

    init(_ log: MediaLog, _ script: @escaping MediaHost.Script) {
        self.log = log
        self.script = script
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += String(buffer: unwrapInboundIn(data))
        while let end = received.firstRange(of: "\r\n\r\n") {
            let request = log.received(received[..<end.lowerBound])
            received.removeSubrange(..<end.upperBound)
            send(script(request), to: request, on: context.channel)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func send(_ answer: MediaHost.Answer, to request: MediaHost.Request, on channel: any Channel) {
        let log = log
        channel.write(ByteBuffer(string: answer.head), promise: nil)
        for piece in answer.pieces {
            channel.write(piece.buffer).whenSuccess { log.served(piece.count, by: request) }
        }
        let isOut = channel.writeAndFlush(ByteBuffer())
        switch answer.end {
        case .open: break
        case .closed: isOut.whenComplete { _ in channel.close(promise: nil) }
        case .reset: isOut.whenComplete { _ in Self.reset(channel) }
        }
    }

    /// Closes with RST instead of FIN.
    private static func reset(_ channel: any Channel) {
        // Every channel over a socket is one.
        let options = channel as! any SocketOptionProvider
        options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in channel.close(promise: nil) }
    }
}
