// clipbridge
// SPDX-License-Identifier: Apache-2.0

import HummingbirdCore
import NIOCore

/// A fault ends the connection instead of the request.
struct ConnectionCut: Error, Sendable, Equatable {
    enum Manner: Sendable { case reset, close, stall }

    var manner: Manner
    /// So many body bytes pass before.
    var after: UInt64

    /// Nil for faults that cut nothing.
    init?(_ kind: FaultSpec.Kind?) {
        switch kind {
        case .reset(let after): (manner, self.after) = (.reset, after)
        case .truncate(let after): (manner, self.after) = (.close, after)
        case .stall(let after): (manner, self.after) = (.stall, after)
        case .drop: (manner, after) = (.reset, 0)
        case .latency, .status, .duplicate, nil: return nil
        }
    }

    /// How long a stalled connection stays silent: longer than any client's patience, but not for ever.
    private static let stallMax = Duration.seconds(600)

    /// The kernel's `struct linger`, which no module offers that may be imported here.
    private struct LingerOption: Sendable {
        var isOn: CInt = 1
        var seconds: CInt = 0
    }

    /// Ends the connection in this manner.
    func perform(on channel: any Channel) async {
        switch manner {
        case .reset:
            // Closing with a linger time of zero makes the kernel send RST instead of FIN.
            if let socket = channel as? any SocketOptionProvider {
                try? await socket.unsafeSetSocketOption(level: .socket, name: .so_linger, value: LingerOption()).get()
            }
        case .close:
            // Closing the output alone waits for what is written to leave.
            try? await channel.close(mode: .output).get()
        case .stall:
            try? await Task.sleep(for: Self.stallMax)
        }
        try? await channel.close().get()
    }
}

extension RequestBody {
    /// The body as it is until the cut's number of bytes has passed; then, or at its end before, the cut is thrown.
    func cut(_ cut: ConnectionCut) -> RequestBody {
        RequestBody(asyncSequence: CutBody(base: self, cut: cut))
    }
}

private struct CutBody: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    let base: RequestBody
    let cut: ConnectionCut

    struct AsyncIterator: AsyncIteratorProtocol {
        var base: RequestBody.AsyncIterator
        let cut: ConnectionCut
        var left: UInt64

        mutating func next() async throws -> ByteBuffer? {
            guard left > 0, var buffer = try await base.next(isolation: #isolation) else { throw cut }
            let count = Int(clamping: Swift.min(UInt64(buffer.readableBytes), left))
            left -= UInt64(count)
            return buffer.readSlice(length: count)
        }
    }

    func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(base: base.makeAsyncIterator(), cut: cut, left: cut.after)
    }
}
