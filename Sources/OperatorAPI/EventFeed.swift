// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
package import ClipStore
package import Logging
import NIOConcurrencyHelpers
import ServiceLifecycle

/// What bounds the feed and each of its clients.
package struct EventLimits: Sendable {
    /// Clients at a time.
    package var subscribersMax: Int
    /// Events that wait for one client; also how many are read from the store at a time.
    package var queueMax: Int
    /// How long a queue may be full without anything being taken from it.
    package var secondsFullMax: Int
    /// After so much silence a client is sent a comment, so that nobody in between takes the connection for dead.
    package var heartbeatSeconds: Int

    package init(
        subscribersMax: Int = 256, queueMax: Int = 64, secondsFullMax: Int = 15, heartbeatSeconds: Int = 15
    ) {
        self.subscribersMax = subscribersMax
        self.queueMax = queueMax
        self.secondsFullMax = secondsFullMax
        self.heartbeatSeconds = heartbeatSeconds
    }
}

/// Tells any number of clients of every change of a clip, with one reader of the store for all of them.
///
/// The reader is woken when something changes in this process, and once a second looks for what other processes have
/// changed. While nobody listens it does nothing at all. The store is what remembers: a client whose queue is full is
/// passed over until there is room again, and then goes on where it was.
package final class EventFeed<Store: ClipStore>: Service {
    private struct State: Sendable {
        var lastID: UInt64 = 0
        var queues: [UInt64: EventQueue] = [:]
        var isClosed = false
    }

    private let store: Store
    private let limits: EventLimits
    private let clock: any WallClock
    private let logger: Logger
    private let state = NIOLockedValueBox(State())
    private let changes = Bell()
    private let arrivals = Bell()

    package init(
        store: Store, limits: EventLimits = EventLimits(), clock: any WallClock = SystemWallClock(), logger: Logger
    ) {
        self.store = store
        self.limits = limits
        self.clock = clock
        self.logger = logger
    }

    /// Clips may have changed. It is called often, and returns at once.
    package func wake() {
        if subscriberCount > 0 { changes.ring() }
    }

    package var subscriberCount: Int { state.withLockedValue { $0.queues.count } }

    /// In the order in which they came.
    private var queues: [(id: UInt64, queue: EventQueue)] {
        state.withLockedValue { $0.queues }.sorted { $0.key < $1.key }.map { (id: $0.key, queue: $0.value) }
    }

    // MARK: Clients

    /// A place for a client that knows of every change up to `seq`.
    /// - Throws: `Problem` when all places are taken or the feed is closed.
    func subscribe(after seq: Int64) throws -> EventSubscription {
        let queue = EventQueue(after: seq, limits: limits)
        let id: UInt64 = try state.withLockedValue { state in
            if state.isClosed { throw Problem.unavailable("the bridge is stopping: try again") }
            guard state.queues.count < limits.subscribersMax else {
                throw Problem.unavailable("\(limits.subscribersMax) clients listen already: try again later")
            }
            state.lastID += 1
            state.queues[state.lastID] = queue
            return state.lastID
        }
        arrivals.ring()
        changes.ring()
        return EventSubscription(
            queue: queue, after: seq, onRoom: { [changes] in changes.ring() }, onEnd: { self.remove(id) })
    }

    private func remove(_ id: UInt64) {
        let queue = state.withLockedValue { $0.queues.removeValue(forKey: id) }
        queue?.close()
    }

    // MARK: Running

    /// Serves until graceful shutdown or cancellation; then every stream ends and no new one begins.
    package func run() async throws {
        await withTaskCancellationOrGracefulShutdownHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.keepTime() }
                await self.readChanges()
                group.cancelAll()
            }
        } onCancelOrGracefulShutdown: {
            self.close()
        }
    }

    package func close() {
        let queues = state.withLockedValue { state in
            defer { state.queues = [:] }
            state.isClosed = true
            return state.queues
        }
        for queue in queues.values { queue.close() }
        changes.finish()
        arrivals.finish()
    }

    private func readChanges() async {
        for await _ in changes.rings {
            do {
                try await deliver()
            } catch {
                // The next second is the next try.
                logger.error("reading changes failed", metadata: ["error": "\(error)"])
            }
        }
    }

    /// Reads from where the client stands that is furthest back, page by page, until all have everything or are full.
    private func deliver() async throws {
        let pageMax = limits.queueMax
        while let seq = queues.compactMap({ $0.queue.openCursor }).min() {
            let clips = try await store.read { try $0.clips(changedAfter: seq, limit: pageMax) }
            let page = clips.map { ClipEvent($0) }
            for (_, queue) in queues { queue.offer(page, after: seq) }
            if clips.count < pageMax { return }
        }
    }

    /// Counts seconds as long as anybody listens.
    private func keepTime() async {
        for await _ in arrivals.rings {
            while subscriberCount > 0 {
                do { try await clock.sleep(for: .seconds(1)) } catch { return }
                for (id, queue) in queues where !queue.secondPassed() {
                    logger.notice("event stream closed, its client is too slow")
                    remove(id)
                }
                changes.ring()
            }
        }
    }
}
