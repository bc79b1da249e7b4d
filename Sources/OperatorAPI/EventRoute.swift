// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import HTTPTypes
import Hummingbird
import NIOCore

extension OperatorAPI {
    /// Server-Sent Events: each change of a clip from the client's last one on, or from now on.
    func streamEvents(_ request: Request) async throws -> Response {
        let last = try request.lastEventID()
        let present = try await store.read { try $0.lastChangeSeq() }
        // A number that is still to come is another store's, such as the one of before a restored backup: whoever has
        // it knows nothing of this one.
        let start = last.map { $0 > present ? 0 : $0 } ?? present
        let subscription = try events.subscribe(after: start)
        let stream = EventStream(subscription: subscription, clock: clock)
        let body = ResponseBody { writer in
            defer { subscription.end() }
            let handedOver = HandedOverWriter(writer: writer)
            // A client that goes away shows only in the request: while nothing changes nothing is written to it.
            try await request.body.consumeWithInboundCloseHandler { _ in
                try await stream.write(to: handedOver)
            } onInboundClosed: {
                subscription.end()
            }
        }
        return Response(
            status: .ok,
            headers: [.contentType: "text/event-stream", .cacheControl: "no-store", .xAccelBuffering: "no"],
            body: body)
    }
}

/// Writes to one client for as long as its subscription lasts.
struct EventStream: Sendable {
    /// How long a client that does not read may hold up the end: the server waits for what is being answered.
    private static let endTimeLimit = Duration.seconds(1)

    let subscription: EventSubscription
    let clock: any WallClock

    @concurrent func write(to writer: HandedOverWriter) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.send(to: writer) }
            group.addTask {
                await self.subscription.ended()
                try await self.clock.sleep(for: Self.endTimeLimit)
                throw CancellationError()
            }
            defer { group.cancelAll() }
            _ = try await group.next()
        }
    }

    @concurrent private func send(to handedOver: HandedOverWriter) async throws {
        var writer = handedOver.writer
        // The number without an event: a client whose connection breaks before the first one misses nothing either.
        try await writer.write(ByteBuffer(string: "retry: 2000\nid: \(subscription.start)\n\n"))
        for await _ in subscription.arrivals {
            let frames = subscription.take()
            if !frames.isEmpty { try await writer.write(contentsOf: frames) }
        }
        try Task.checkCancellation()
        try await writer.finish(nil)
    }
}

/// A response's writer for a child task, which can be cancelled while it writes.
struct HandedOverWriter: @unchecked Sendable {
    // Safe because whoever hands it over only waits for that one task and does not write.
    let writer: any ResponseBodyWriter
}

extension HTTPField.Name {
    static let lastEventID = HTTPField.Name("Last-Event-ID")!  // A literal of token characters.
    static let xAccelBuffering = HTTPField.Name("X-Accel-Buffering")!  // A literal of token characters.
}
