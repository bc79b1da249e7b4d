// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import HummingbirdCore
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1

/// Answers deliveries on the event loop, before the server's own way from a request to a task and back, which costs
/// more than all that a delivery needs.
///
/// Everything else passes. Answers leave in the order of the requests: a delivery waits for the answers to what passed
/// before it, and what comes behind a delivery waits for the delivery's.
final class WebhookHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Phase {
        /// Requests pass; so many are not answered. Next: `receiving` or `refused` at none.
        case passing(unanswered: Int)
        /// A delivery's body comes. Next: `storing`, `refused`.
        case receiving(WebhookReceiver.Arrival)
        /// A delivery is answered already; the rest of its body is thrown away. Next: `passing`.
        case refused
        /// A delivery is complete and waits for its answer. Next: `passing`.
        case storing
        /// The last answer of the connection is given, or what came is no HTTP: requests are looked at no more.
        case ended
    }

    /// What came while it could not be taken.
    private enum Held {
        case part(HTTPServerRequestPart)
        case event(Any)
        case error(any Error)
    }

    private let receiver: WebhookReceiver
    private var phase = Phase.passing(unanswered: 0)
    private var held: CircularBuffer<Held> = []
    /// Somebody behind wanted to read while something was held.
    private var owesRead = false
    private var isReleasing = false
    private var closesAfterAnswer = false

    init(receiver: WebhookReceiver) {
        self.receiver = receiver
    }

    // MARK: In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        take(.part(unwrapInboundIn(data)), context: context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        take(.event(event), context: context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        take(.error(error), context: context)
    }

    /// The server's own handler does not tell of the connection's end.
    func handlerRemoved(context: ChannelHandlerContext) {
        if case .receiving = phase { receiver.abandoned() }
        phase = .ended
        held.removeAll()
    }

    private func take(_ arrived: Held, context: ChannelHandlerContext) {
        guard held.isEmpty, canTake(arrived, context: context) else { return held.append(arrived) }
        process(arrived, context: context)
    }

    private func canTake(_ arrived: Held, context: ChannelHandlerContext) -> Bool {
        switch phase {
        case .storing:
            return false
        case .passing(let unanswered):
            guard case .part(.head(let request)) = arrived, Self.isDelivery(request) else { return true }
            // Who takes no answers is given no more of them.
            return unanswered == 0 && context.channel.isWritable
        case .receiving, .refused, .ended:
            return true
        }
    }

    private func process(_ arrived: Held, context: ChannelHandlerContext) {
        if case .part(.body(let bytes)) = arrived, case .receiving = phase { return add(bytes, context: context) }
        switch (phase, arrived) {
        case (.passing, .part(.head(let request))) where Self.isDelivery(request):
            begin(request, context: context)
        case (.passing(let unanswered), .part(.head(let request))):
            phase = .passing(unanswered: unanswered + 1)
            // Behind another one's answer it would be taken for a part of it.
            if unanswered == 0, request.awaitsContinue { sendContinue(context: context) }
            pass(arrived, context: context)
        case (.receiving(let arrival), .part(.end)):
            complete(arrival, context: context)
        case (.receiving, .part), (.refused, .part(.body)), (.refused, .part(.head)):
            break
        case (.refused, .part(.end)):
            phase = .passing(unanswered: 0)
        case (.ended, .part):
            break
        case (_, .error):
            if case .receiving = phase { receiver.abandoned() }
            phase = .ended
            pass(arrived, context: context)
        case (.passing, _), (.storing, _), (_, .event):
            pass(arrived, context: context)
        }
    }

    private func pass(_ held: Held, context: ChannelHandlerContext) {
        switch held {
        case .part(let part): context.fireChannelRead(wrapInboundOut(part))
        case .event(let event): context.fireUserInboundEventTriggered(event)
        case .error(let error): context.fireErrorCaught(error)
        }
    }

    /// What a route for the path would take: also with a query, a host before it, or more slashes.
    private static func isDelivery(_ request: HTTPRequestHead) -> Bool {
        guard request.method == .POST else { return false }
        if request.uri == WebhookReceiver.path { return true }
        guard let path = (try? HTTPRequest(request, secure: false, splitCookie: false))?.path else { return false }
        return URI(path).path.split(separator: "/") == pathComponents
    }

    private static let pathComponents = WebhookReceiver.path.split(separator: "/")

    // MARK: Deliveries

    private func begin(_ request: HTTPRequestHead, context: ChannelHandlerContext) {
        closesAfterAnswer = !request.isKeepAlive
        do throws(WebhookReceiver.Refusal) {
            phase = .receiving(try receiver.begin(request.headers))
            if request.awaitsContinue { sendContinue(context: context) }
        } catch {
            phase = .refused
            send(error.answer, context: context)
        }
    }

    /// The sender keeps its body until it hears this (RFC 9110, 10.1.1).
    private func sendContinue(context: ChannelHandlerContext) {
        context.writeAndFlush(
            wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
    }

    private func add(_ bytes: ByteBuffer, context: ChannelHandlerContext) {
        guard case .receiving(var arrival) = phase else { return }
        // Or the bytes that are here would be copied for having two owners.
        phase = .refused
        do throws(WebhookReceiver.Refusal) {
            try receiver.add(bytes, to: &arrival)
            phase = .receiving(arrival)
        } catch {
            send(error.answer, context: context)
        }
    }

    private func complete(_ arrival: WebhookReceiver.Arrival, context: ChannelHandlerContext) {
        phase = .storing
        let loop = context.eventLoop
        let bound = NIOLoopBound((self, context), eventLoop: loop)
        receiver.complete(arrival) { answer in
            if loop.inEventLoop {
                bound.value.0.stored(answer, context: bound.value.1)
            } else {
                loop.execute { bound.value.0.stored(answer, context: bound.value.1) }
            }
        }
    }

    private func stored(_ answer: WebhookAnswer, context: ChannelHandlerContext) {
        // The connection may have ended meanwhile.
        guard case .storing = phase else { return }
        phase = .passing(unanswered: 0)
        send(answer, context: context)
        release(context: context)
    }

    private func send(_ answer: WebhookAnswer, context: ChannelHandlerContext) {
        var (head, body) = answer.parts
        head.headers.add(name: "Date", value: receiver.date())
        if closesAfterAnswer { head.headers.replaceOrAdd(name: "Connection", value: "close") }
        if head.headers.contains(name: "Connection") { phase = .ended }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    // MARK: Order

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        context.write(data, promise: promise)
        guard case .end = unwrapOutboundIn(data), case .passing(let unanswered) = phase else { return }
        phase = .passing(unanswered: max(unanswered - 1, 0))
        release(context: context)
    }

    func read(context: ChannelHandlerContext) {
        if held.isEmpty { context.read() } else { owesRead = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        context.fireChannelWritabilityChanged()
        release(context: context)
    }

    /// Takes what was held, as far as that goes now. An answer may come at once and ask for the same, so that it is the
    /// one that has begun who goes on: nobody's stack is as deep as somebody sends requests.
    private func release(context: ChannelHandlerContext) {
        guard !held.isEmpty, !isReleasing else { return }
        isReleasing = true
        defer { isReleasing = false }
        while let first = held.first, canTake(first, context: context) {
            held.removeFirst()
            process(first, context: context)
        }
        context.fireChannelReadComplete()
        if held.isEmpty, owesRead {
            owesRead = false
            context.read()
        }
    }
}

extension HTTPRequestHead {
    fileprivate var awaitsContinue: Bool { headers.first(name: "Expect")?.lowercased() == "100-continue" }
}
