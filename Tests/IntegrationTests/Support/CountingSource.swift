// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import HTTPTypes
import Hummingbird
import NIOConcurrencyHelpers
import NIOCore
import ObjectStorage

/// A host of one file, whole or from an offset on, that counts the bytes it writes.
final class CountingSource: Sendable {
    /// An answer with bytes of the file.
    struct Sending: Sendable {
        var offset: UInt64
        var bytes: UInt64 = 0
    }

    private struct State: Sendable {
        var sendings: [Sending] = []
        var running = 0
    }

    static let path = "/file.mp4"
    private static let etag = "\"the one file\""
    private static let chunkBytes = 128 << 10
    /// A prime, so that no two places a multiple of any part's size apart have the same bytes.
    private static let blockBytes = 1_048_573

    let size: UInt64
    private let block: ByteBuffer
    private let wire: Tripwire?
    private let isAhead: @Sendable (UInt64) -> Bool
    private let state = NIOLockedValueBox(State())

    /// - Parameter isAhead: whether a place in the file is too far ahead of the client that the wire is for.
    init(size: UInt64, wire: Tripwire? = nil, isAhead: @escaping @Sendable (UInt64) -> Bool = { _ in false }) {
        self.size = size
        self.wire = wire
        self.isAhead = isAhead
        // Knuth's MMIX generator.
        var number: UInt64 = 1
        block = ByteBuffer(
            bytes: (0..<Self.blockBytes).map { _ in
                number = number &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: number >> 56)
            })
    }

    var sendings: [Sending] { state.withLockedValue(\.sendings) }
    var bytes: UInt64 { sendings.reduce(0) { $0 + $1.bytes } }
    /// Nothing is being sent.
    var isQuiet: Bool { state.withLockedValue { $0.running == 0 } }

    var sha256: String {
        var hash = SHA256()
        var position: UInt64 = 0
        while position < size {
            let chunk = chunk(at: position)
            hash.update(data: [UInt8](buffer: chunk))
            position += UInt64(chunk.readableBytes)
        }
        return hexadecimal(hash.finalize())
    }

    private func chunk(at position: UInt64) -> ByteBuffer {
        let start = Int(position % UInt64(Self.blockBytes))
        let count = min(Self.chunkBytes, Self.blockBytes - start, Int(clamping: size - position))
        // Inside the block, by the line before.
        return block.getSlice(at: start, length: count)!
    }

    // MARK: Answers

    func answer(_ request: Request) -> Response {
        guard request.uri.path == Self.path else { return Response(status: .notFound) }
        let offset = Self.offset(request)
        guard offset < size else { return Response(status: .rangeNotSatisfiable) }
        var headers: HTTPFields = [.eTag: Self.etag]
        if offset > 0 { headers[.contentRange] = "bytes \(offset)-\(size - 1)/\(size)" }
        return Response(
            status: offset > 0 ? .partialContent : .ok, headers: headers,
            body: ResponseBody(contentLength: Int(size - offset)) { writer in
                try await self.send(from: offset, to: &writer)
            })
    }

    /// Where the answer begins: a range counts only for the file as it is.
    private static func offset(_ request: Request) -> UInt64 {
        guard request.headers[.ifRange] == etag,
            let match = request.headers[.range]?.wholeMatch(of: /bytes=(\d+)-/)
        else { return 0 }
        return UInt64(match.output.1) ?? 0
    }

    @concurrent
    private func send(from offset: UInt64, to writer: inout any ResponseBodyWriter) async throws {
        let number = state.withLockedValue { state in
            state.running += 1
            state.sendings.append(Sending(offset: offset))
            return state.sendings.count - 1
        }
        defer { state.withLockedValue { $0.running -= 1 } }
        let isLater = wire?.isOver == true
        var position = offset
        while position < size {
            if let wire, !isLater { try await keepPace(at: position, wire) }
            let chunk = chunk(at: position)
            try await writer.write(chunk)
            position += UInt64(chunk.readableBytes)
            let sent = state.withLockedValue { state in
                state.sendings[number].bytes += UInt64(chunk.readableBytes)
                return state.sendings.reduce(0) { $0 + $1.bytes }
            }
            try await wire?.passes(sent, .download)
        }
        try await writer.finish(nil)
    }

    /// Waits for the client, and ends with it.
    private func keepPace(at position: UInt64, _ wire: Tripwire) async throws {
        while !wire.isOver, isAhead(position) { try await letPass(.milliseconds(1)) }
        if wire.isOver { throw CancellationError() }
    }
}
