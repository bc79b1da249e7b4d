// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1

/// Has the connection of an HTTP/1.0 request end with its answer, which is how such a client finds the answer's end.
///
/// Behind the decoder, because what comes next is not told of a request's version.
final class HTTP10Handler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(var request) = unwrapInboundIn(data), request.version == .http1_0 else {
            return context.fireChannelRead(data)
        }
        request.headers.replaceOrAdd(name: "Connection", value: "close")
        // It is to be ignored (RFC 9110, 10.1.1).
        request.headers.remove(name: "Expect")
        context.fireChannelRead(wrapInboundOut(.head(request)))
    }
}
