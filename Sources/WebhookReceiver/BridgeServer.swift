// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import Hummingbird
package import HummingbirdCore
package import Logging
import NIOCore
import NIOHTTPTypesHTTP1

/// Makes the parts of a Hummingbird application that keep to `ServerLimits`.
package struct BridgeServer: Sendable {
    package var limits: ServerLimits
    private let receiver: WebhookReceiver

    /// - Parameter receiver: takes the deliveries; all other requests are the application's.
    package init(limits: ServerLimits = ServerLimits(), receiver: WebhookReceiver) {
        self.limits = limits
        self.receiver = receiver
    }

    /// For `Application(…, server:)`.
    package var builder: HTTPServerBuilder {
        let limits = limits
        let room = ConnectionRoom(connectionsMax: limits.connectionsMax - limits.connectionsMax / 16)
        let configuration = HTTP1Channel.Configuration(
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: limits.headerFieldBytesMax,
                maxHeaderListSize: limits.headerBytesMax,
                maxHeaderFieldCount: limits.headerFieldsMax
            )
        )
        return HTTPServerBuilder { [receiver] responder in
            BridgeChannel(
                base: HTTP1Channel(responder: responder, configuration: configuration), limits: limits, room: room,
                receiver: receiver)
        }
    }

    /// For `Application(…, configuration:)`.
    package func configuration(address: BindAddress, logger: Logger) -> ApplicationConfiguration {
        ApplicationConfiguration(
            address: address,
            backlog: 1_024,
            availableConnectionsDelegate: MaximumAvailableConnections(limits.connectionsMax, logger: logger)
        )
    }

    /// How many connections are accepted before it is the open ones' turn. By NIO's default it is 4, and behind a crowd
    /// the backlog overflows: an honest sender then tries again after 1 s, and after 3 s.
    private static let acceptedAtATimeMax = 256

    /// For `Application(…, onServerRunning:)`.
    package func begin(on listener: any Channel) async {
        // A listener that is gone already needs nothing.
        let accepted = max(1, min(limits.connectionsMax / 16, Self.acceptedAtATimeMax))
        try? await listener.setOption(.maxMessagesPerRead, value: UInt(accepted)).get()
    }
}

/// Hummingbird's connection, with what looks after requests in general and what takes deliveries out right behind the
/// parser.
private struct BridgeChannel: ServerChildChannel {
    let base: HTTP1Channel
    let limits: ServerLimits
    let room: ConnectionRoom
    let receiver: WebhookReceiver

    /// How much is read from a connection before it is the next one's turn: dozens of small requests, which take
    /// milliseconds. By NIO's defaults it is up to 1 MiB.
    private static let bytesAtATime = 4 << 10

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        base.setup(channel: channel, logger: logger).flatMapThrowing { value in
            let options = channel.syncOptions
            try options?.setOption(.maxMessagesPerRead, value: 1)
            try options?.setOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 1_024, initial: 2_048, maximum: Self.bytesAtATime))
            let pipeline = channel.pipeline.syncOperations
            let codec = try pipeline.handler(type: HTTP1ToHTTPServerCodec.self)
            try pipeline.addHandlers(
                [
                    HTTP10Handler(), ConnectionEndHandler(limits: limits, room: room),
                    WebhookHandler(receiver: receiver),
                ], position: .before(codec))
            return value
        }
    }

    func handle(value: HTTP1Channel.Value, logger: Logger) async {
        await base.handle(value: value, logger: logger)
    }
}
