// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1

/// Ends connections whose request does not arrive in time, who ask for nothing more, who take no answers, and those
/// that are to end after an answer.
///
/// It sits behind the HTTP decoder, where it sees requests begin and end, and has a scout in front of the decoder that
/// tells it of bytes: a request whose head is still incomplete shows nowhere else. Hummingbird's own idle time-out is
/// not used: it restarts with every part, so that it does not stop a sender that drips, and it does not see deliveries.
final class ConnectionEndHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Phase {
        /// The connection is new and silent. Next: `head`.
        case fresh
        /// Bytes of a request have come. Next: `body`.
        case head
        /// The head is complete. Next: `idle`.
        case body
        /// The last request is complete. Next: `head`.
        case idle
        /// The last answer is given; what still comes is thrown away until the connection ends.
        case ending
    }

    /// How long a sender may go on sending after the last answer. Closing at once would reset the connection under
    /// its hands, and with it the answer that it has not read yet.
    private static let lingerTime = TimeAmount.seconds(2)

    private let headTimeLimit: TimeAmount
    private let bodyTimeLimit: TimeAmount
    private let idleTimeLimit: TimeAmount
    private let stallTimeLimit: TimeAmount
    private let room: ConnectionRoom
    private var phase = Phase.fresh
    /// From `handlerAdded` to `handlerRemoved`; the scout starts timers with it too.
    private var context: ChannelHandlerContext?
    private var scout: Scout?
    private var timer: Scheduled<Void>?
    /// Runs from an answer on, and is not stopped by requests: most connections have many.
    private var idleTimer: Scheduled<Void>?
    /// When the last answer was given.
    private var idleSince = NIODeadline.now()
    /// Runs while so much of the answers is not taken that no more of them is sent.
    private var stallTimer: Scheduled<Void>?
    /// Requests whose answer is not complete.
    private var unanswered = 0
    /// The front one's answer has begun.
    private var isAnswering = false
    /// The answer that is being sent is the last one.
    private var closesAfterAnswer = false
    /// The server is ending, and each connection with what it was asked until then.
    private var isQuiescing = false

    init(limits: ServerLimits, room: ConnectionRoom) {
        self.room = room
        headTimeLimit = TimeAmount(limits.headTimeLimit)
        bodyTimeLimit = TimeAmount(limits.bodyTimeLimit)
        idleTimeLimit = TimeAmount(limits.idleTimeout)
        stallTimeLimit = TimeAmount(limits.stallTimeLimit)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        // Adding to a pipeline that is being built fails only when its channel is gone already.
        let scout = Scout(owner: self)
        try? context.pipeline.syncOperations.addHandler(scout, position: .first)
        self.scout = scout
        if context.channel.isActive { begin(context: context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        stopTimers()
        room.closed(context.channel)
        self.context = nil
        scout = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context: context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        stopTimers()
        room.closed(context.channel)
        context.fireChannelInactive()
    }

    private func begin(context: ChannelHandlerContext) {
        guard case .fresh = phase, timer == nil else { return }
        startTimer(headTimeLimit, context: context)
        room.opened(context.channel)
    }

    // MARK: Requests

    private var isEnding: Bool { if case .ending = phase { true } else { false } }

    /// The scout saw bytes.
    private func bytesArrived() {
        switch phase {
        case .fresh:
            // Its timer has been running since the connection began.
            phase = .head
        case .idle:
            phase = .head
        case .head, .body, .ending:
            break
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isEnding { return }
        switch unwrapInboundIn(data) {
        case .head:
            stopTimer()
            phase = .body
            unanswered += 1
        case .body:
            break
        case .end:
            stopTimer()
            phase = .idle
            // It may have been answered by its head alone.
            if hasToAnswer { room.answers(context.channel) }
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        // Most requests come in one piece and need no timer.
        if timer == nil {
            switch phase {
            case .head: startTimer(headTimeLimit, context: context)
            case .body: startTimer(bodyTimeLimit, context: context)
            case .fresh, .idle, .ending: break
            }
        }
        context.fireChannelReadComplete()
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if isEnding {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(let head):
            if head.status.code >= 200 {
                isAnswering = true
                closesAfterAnswer = head.headers.first(name: "Connection")?.lowercased() == "close"
            }
            context.write(data, promise: promise)
        case .body:
            context.write(data, promise: promise)
        case .end:
            // A request that could not be parsed is answered without having been counted.
            unanswered = max(unanswered - 1, 0)
            isAnswering = false
            if !hasToAnswer { room.waits(context.channel) }
            if closesAfterAnswer {
                context.writeAndFlush(data, promise: promise)
                end(context: context)
            } else if isQuiescing, unanswered == 0 {
                context.writeAndFlush(data, promise: promise)
                context.close(promise: nil)
            } else {
                context.write(data, promise: promise)
                if unanswered == 0 { becomeIdle(context: context) }
            }
        }
    }

    /// Whether a request that is complete is not answered yet.
    private var hasToAnswer: Bool {
        if case .body = phase { unanswered > 1 } else { unanswered > 0 }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stallTimer?.cancel()
        stallTimer = nil
        if context.channel.isWritable {
            if hasToAnswer { room.answers(context.channel) }
        } else {
            stallTimer = context.eventLoop.assumeIsolated().scheduleTask(in: stallTimeLimit) {
                context.close(promise: nil)
            }
            room.waits(context.channel)
        }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is ChannelShouldQuiesceEvent else { return context.fireUserInboundEventTriggered(event) }
        isQuiescing = true
        if unanswered == 0, !isEnding { context.close(promise: nil) }
    }

    /// Ends the connection in order: no more is sent, and what still comes is taken in for a while.
    private func end(context: ChannelHandlerContext) {
        stopTimer()
        phase = .ending
        context.close(mode: .output, promise: nil)
        startTimer(Self.lingerTime, context: context)
        scout?.throwAway()
    }

    // MARK: Time limits

    private func startTimer(_ limit: TimeAmount, context: ChannelHandlerContext) {
        stopTimer()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { [weak self] in
            self?.timer = nil
            self?.timeIsUp(limit, context: context)
        }
    }

    private func stopTimer() {
        timer?.cancel()
        timer = nil
    }

    private func stopTimers() {
        stopTimer()
        idleTimer?.cancel()
        idleTimer = nil
        stallTimer?.cancel()
        stallTimer = nil
    }

    private func becomeIdle(context: ChannelHandlerContext) {
        idleSince = .now()
        if idleTimer == nil { startIdleTimer(idleTimeLimit, context: context) }
    }

    private func startIdleTimer(_ time: TimeAmount, context: ChannelHandlerContext) {
        idleTimer = context.eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in
            self?.idleTimer = nil
            self?.endIfIdle(context: context)
        }
    }

    private func endIfIdle(context: ChannelHandlerContext) {
        // The answer to what has come meanwhile starts the timer again.
        guard case .idle = phase, unanswered == 0 else { return }
        let left = idleSince + idleTimeLimit - .now()
        if left > .zero { startIdleTimer(left, context: context) } else { context.close(promise: nil) }
    }

    private func timeIsUp(_ limit: TimeAmount, context: ChannelHandlerContext) {
        switch phase {
        case .fresh, .ending:
            // A silent connection, such as browsers open in advance, expects no answer.
            context.close(promise: nil)
        case .head:
            // While an earlier request is being answered reading may have stopped on our side.
            if unanswered > 0 { startTimer(limit, context: context) } else { refuse(context: context) }
        case .body:
            if unanswered > 1 {
                startTimer(limit, context: context)
            } else if unanswered == 1, !isAnswering {
                refuse(context: context)
            } else {
                context.close(promise: nil)
            }
        case .idle:
            break
        }
    }

    private func refuse(context: ChannelHandlerContext) {
        let body = ByteBuffer(string: #"{"error":"request_timeout","message":"the request did not arrive in time"}"#)
        let head = HTTPResponseHead(
            version: .http1_1,
            status: .requestTimeout,
            headers: [
                "Content-Type": "application/json", "Content-Length": String(body.readableBytes),
                "Connection": "close",
            ]
        )
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        end(context: context)
    }

    /// Sits in front of the HTTP decoder and tells of bytes, and throws them away after the last answer: those behind
    /// it read no more then, so that a sender with much to send would neither come to its end nor let go.
    private final class Scout: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer

        private weak var owner: ConnectionEndHandler?
        /// From `handlerAdded` to `handlerRemoved`.
        private var context: ChannelHandlerContext?

        init(owner: ConnectionEndHandler) {
            self.owner = owner
        }

        private var isEnding: Bool { owner?.isEnding ?? false }

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }
        func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

        func throwAway() { context?.read() }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if isEnding { return }
            owner?.bytesArrived()
            context.fireChannelRead(data)
        }

        func channelReadComplete(context: ChannelHandlerContext) {
            context.fireChannelReadComplete()
            if isEnding { throwAway() }
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if isEnding, case .some(.inputClosed) = event as? ChannelEvent {
                context.close(promise: nil)
            } else {
                context.fireUserInboundEventTriggered(event)
            }
        }
    }
}
