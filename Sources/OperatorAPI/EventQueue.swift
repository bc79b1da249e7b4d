// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import NIOConcurrencyHelpers
import NIOCore

/// A clip's latest change as it goes over the wire.
struct ClipEvent: Sendable {
    let seq: Int64
    let frame: ByteBuffer

    init(_ clip: ClipRecord) {
        var frame = ByteBuffer(string: "id: \(clip.changeSeq)\nevent: clip\ndata: ")
        frame.writeString(clip.json.json)
        frame.writeString("\n\n")
        self.seq = clip.changeSeq
        self.frame = frame
    }
}

/// Wakes one loop: a ring while the loop is busy is remembered, several are one.
struct Bell: Sendable {
    let rings: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() {
        let (rings, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        self.rings = rings
        self.continuation = continuation
    }

    func ring() { continuation.yield() }
    /// Ends the loop, after a ring that it has not heard yet.
    func finish() { continuation.finish() }
}

/// What is to be sent to one client.
final class EventQueue: Sendable {
    private struct State: Sendable {
        /// The last change that was queued.
        var cursor: Int64
        var events: [ClipEvent] = []
        var owesComment = false
        var secondsFull = 0
        var secondsQuiet = 0
    }

    /// Rings when there is something to take; ends when the queue is closed.
    let arrivals = Bell()
    /// Never rings; ends when the queue is closed.
    let closing = Bell()
    private let limits: EventLimits
    private let state: NIOLockedValueBox<State>

    init(after seq: Int64, limits: EventLimits) {
        self.limits = limits
        self.state = NIOLockedValueBox(State(cursor: seq))
    }

    /// After which change the queue goes on; nil while it is full.
    var openCursor: Int64? { state.withLockedValue { $0.events.count < limits.queueMax ? $0.cursor : nil } }

    /// Takes as much as there is room for.
    /// - Parameter page: what follows the change `seq` in the store, without a gap.
    func offer(_ page: [ClipEvent], after seq: Int64) {
        let isTaken: Bool = state.withLockedValue { state in
            // What lies between its own last change and the page would be left out.
            guard state.cursor >= seq else { return false }
            let cursor = state.cursor
            let fresh = page.drop { $0.seq <= cursor }.prefix(limits.queueMax - state.events.count)
            guard let last = fresh.last else { return false }
            state.events += fresh
            state.cursor = last.seq
            return true
        }
        if isTaken { arrivals.ring() }
    }

    /// Everything that is to be sent now.
    func take() -> (frames: [ByteBuffer], wasFull: Bool) {
        state.withLockedValue { state in
            var frames = state.events.map(\.frame)
            let wasFull = frames.count >= limits.queueMax
            if frames.isEmpty, state.owesComment { frames = [ByteBuffer(string: ":\n\n")] }
            state = State(cursor: state.cursor)
            return (frames, wasFull)
        }
    }

    /// Counts how long the queue has been full or empty.
    /// - Returns: false when it has been full for too long.
    func secondPassed() -> Bool {
        let (isQuiet, isTooSlow): (Bool, Bool) = state.withLockedValue { state in
            state.secondsQuiet = state.events.isEmpty ? state.secondsQuiet + 1 : 0
            state.secondsFull = state.events.count >= limits.queueMax ? state.secondsFull + 1 : 0
            let isQuiet = state.secondsQuiet >= limits.heartbeatSeconds
            if isQuiet {
                state.secondsQuiet = 0
                state.owesComment = true
            }
            return (isQuiet, state.secondsFull >= limits.secondsFullMax)
        }
        if isQuiet { arrivals.ring() }
        return !isTooSlow
    }

    func close() {
        arrivals.finish()
        closing.finish()
    }
}

/// A client's place in the feed. Whoever lets go of it frees it, also when the answer could not even be begun.
final class EventSubscription: Sendable {
    /// The last change that the client knows of.
    let start: Int64
    private let queue: EventQueue
    private let onRoom: @Sendable () -> Void
    private let onEnd: @Sendable () -> Void

    init(
        queue: EventQueue, after seq: Int64, onRoom: @escaping @Sendable () -> Void,
        onEnd: @escaping @Sendable () -> Void
    ) {
        self.queue = queue
        self.start = seq
        self.onRoom = onRoom
        self.onEnd = onEnd
    }

    deinit { onEnd() }

    /// Yields when there is something to take; ends with the subscription.
    var arrivals: AsyncStream<Void> { queue.arrivals.rings }

    func take() -> [ByteBuffer] {
        let (frames, wasFull) = queue.take()
        if wasFull { onRoom() }
        return frames
    }

    /// Gives the place up; more than once is once.
    func end() { onEnd() }

    /// Returns when the place is given up or taken away, or when the task is cancelled.
    func ended() async {
        for await _ in queue.closing.rings {}
    }
}
