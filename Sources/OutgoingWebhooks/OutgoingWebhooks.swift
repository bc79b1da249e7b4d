// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
package import ClipStore
import CloudflareStream
import HTTPTypes
package import Logging
import NIOConcurrencyHelpers
package import OutboundHTTP
import ServiceLifecycle

/// Sends what waits in the outbox, at least once and each clip's messages in their order, and keeps trying.
///
/// It sleeps until it is woken, a message is due or a target's pause ends. A message is claimed under a lease like any
/// other work, so that replicas share the sending and a dead one's messages are sent by another.
package final class OutgoingWebhooks<Store: ClipStore>: Service {
    /// Longer than a try may take, with its writes.
    private static var lease: Duration { .seconds(45) }
    private static var sleepMax: Duration { .seconds(60) }
    /// What another process' death leaves is found by this look.
    private static var sleepSharedMax: Duration { .seconds(5) }
    private static var countInterval: Duration { .seconds(10) }
    /// How long a stopping process waits for receivers.
    private static var drain: Duration { .seconds(3) }

    private let store: Store
    private let transport: any HTTPTransport
    private let targets: [String: OutgoingTarget]
    private let signer: MessageSigner?
    private let owner: String
    private let clock: any WallClock
    private let logger: Logger
    private let metrics: OutgoingMetrics
    private let plan: NIOLockedValueBox<SendingPlan>
    private let work = Wakeup()
    private let ended = Wakeup()

    /// - Parameter owner: names this process in leases.
    package init(
        store: Store, transport: any HTTPTransport, targets: [OutgoingTarget], signer: MessageSigner?, owner: String,
        clock: any WallClock = SystemWallClock(), logger: Logger, metrics: OutgoingMetrics? = nil
    ) {
        self.store = store
        self.transport = transport
        self.targets = Dictionary(targets.map { ($0.id, $0) }) { first, _ in first }
        self.signer = signer
        self.owner = owner
        self.clock = clock
        self.logger = logger
        self.metrics = metrics ?? OutgoingMetrics(targets: targets)
        self.plan = NIOLockedValueBox(SendingPlan(targets: targets.map(\.id)))
    }

    /// There may be something in the outbox.
    package func wake() { work.wake() }

    // MARK: Running

    /// Sends until graceful shutdown or cancellation.
    package func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.sendLoop() }
            group.addTask { await self.countLoop() }
            await withTaskCancellationOrGracefulShutdownHandler {
                let forever = AsyncStream<Void> { _ in }
                await cancelWhenGracefulShutdown { for await _ in forever {} }
            } onCancelOrGracefulShutdown: {
                self.plan.withLockedValue { $0.close() }
                self.wake()
            }
            await drained()
            group.cancelAll()
        }
    }

    /// Returns when nothing is on its way any more, or when the time is up.
    private func drained() async {
        let end = clock.now() + Self.drain
        while plan.withLockedValue(\.running) > 0, !Task.isCancelled {
            let left = end - clock.now()
            if left <= .zero { return }
            await ended.wait(atMost: left, clock: clock)
        }
    }

    private func countLoop() async {
        while !Task.isCancelled {
            if let counts = try? await store.read({ try $0.messageCounts() }) { metrics.waiting(counts) }
            do { try await clock.sleep(for: Self.countInterval) } catch { return }
        }
    }

    private func sendLoop() async {
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                do {
                    let claimed = try await claimDue()
                    for outgoing in claimed {
                        plan.withLockedValue { $0.started(outgoing.message.target) }
                        group.addTask { await self.deliver(outgoing) }
                    }
                    if claimed.isEmpty { await work.wait(atMost: try await timeToNextDue(), clock: clock) }
                } catch {
                    if Task.isCancelled { return }
                    logger.error("claiming outgoing webhooks failed", metadata: ["error": "\(error)"])
                    try? await clock.sleep(for: .seconds(1))
                }
            }
        }
    }

    /// A look comes first: a transaction that writes is for when there is something.
    private func claimDue() async throws -> [OutgoingMessage] {
        let now = clock.now()
        let openings = plan.withLockedValue { $0.openings(at: now) }
        if openings.isEmpty { return [] }
        let due = try await store.read { transaction in
            let time = transaction.now ?? now
            return try openings.filter { try !transaction.dueMessages(to: $0.target, at: time, limit: 1).isEmpty }
        }
        if due.isEmpty { return [] }
        return try await store.write { [owner] transaction in
            try due.flatMap { target, count in
                try OutboxScript.claim(
                    to: target, owner: owner, lease: Self.lease, limit: count, at: now, in: transaction)
            }
        }
    }

    private func timeToNextDue() async throws -> Duration {
        let now = clock.now()
        let longest = store.isShared ? Self.sleepSharedMax : Self.sleepMax
        let (openings, pauseEnd) = plan.withLockedValue { ($0.openings(at: now), $0.nextPauseEnd(after: now)) }
        let due =
            openings.isEmpty
            ? nil
            : try await store.read { transaction in
                try openings.compactMap { try transaction.nextMessageDue(to: $0.target) }.min()
                    .map { $0 - (transaction.now ?? now) }
            }
        // What is due and was not to be had is another process' for a moment.
        if let due, due <= .zero, store.isShared { return .milliseconds(100) }
        let waits = [due, pauseEnd.map { $0 - now }].compactMap { $0 }
        return min(max(waits.min() ?? longest, .milliseconds(1)), longest)
    }

    // MARK: One message

    private struct Result: Sendable {
        var answer: TargetMachine.Answer
        /// For the log.
        var reason = ""
    }

    private func deliver(_ outgoing: OutgoingMessage) async {
        let result = await attempt(outgoing)
        let target = outgoing.message.target
        let now = clock.now()
        // First of all: a message that is free again must not go at once to a target that has just failed.
        let news = plan.withLockedValue { $0.ended(target, result.answer, at: now, jitter: .random(in: 0...1)) }
        tell(news, of: target, result)
        // Not a child task: what was cancelled has to give its message back all the same.
        await Task { await self.finish(outgoing, result) }.value
        ended.wake()
        work.wake()
    }

    private func attempt(_ outgoing: OutgoingMessage) async -> Result {
        guard let target = targets[outgoing.message.target] else {
            preconditionFailure("a message to the unknown target \(outgoing.message.target) was claimed")
        }
        // Too old to be kept; there is nothing left that could be sent.
        guard let body = outgoing.body else { return Result(answer: .abandoned) }
        let request = OutgoingRequest(outgoing, body: body, to: target, signer: signer, at: clock.now())
        let head = HeadBox()
        do throws(TransferError) {
            return judge(try await transport.send(request.outbound(head)).head)
        } catch {
            if let head = head.head { return judge(head) }
            switch error.code {
            case .cancelled, .stopped: return Result(answer: .abandoned)
            default: return Result(answer: .failed(retryAfter: nil), reason: "\(error)")
            }
        }
    }

    /// A redirect is no answer to a signed message, and is not followed.
    private func judge(_ head: ResponseHead) -> Result {
        switch head.status {
        case 200..<300: return Result(answer: .taken)
        case 410: return Result(answer: .gone, reason: "it answered 410")
        default:
            let retryAfter = head.headers[.retryAfter].flatMap { RetryAfter.parse($0, now: clock.now()) }
            return Result(answer: .failed(retryAfter: retryAfter), reason: "it answered \(head.status)")
        }
    }

    private func finish(_ outgoing: OutgoingMessage, _ result: Result) async {
        let message = outgoing.message
        let age = clock.now() - message.createdAt
        let isGivenUp: Bool
        let ending: OutboxScript.Ending
        switch result.answer {
        case .taken:
            (isGivenUp, ending) = (false, .removed)
            metrics.count(message.kind, .delivered)
        case .abandoned, .gone:
            isGivenUp = outgoing.body == nil
            ending = isGivenUp ? .removed : .released
        case .failed(let retryAfter):
            isGivenUp = age >= SendingBackoff.ageMax
            let delay = SendingBackoff.delay(
                afterFailures: message.attempt + 1, jitter: .random(in: 0...1), retryAfter: retryAfter)
            ending = isGivenUp ? .removed : .postponed(delay)
            if !isGivenUp { metrics.count(message.kind, .retried) }
            logger.debug("outgoing webhook not taken", metadata: metadata(message, ["reason": "\(result.reason)"]))
        }
        if isGivenUp {
            metrics.count(message.kind, .given)
            let reason = outgoing.body == nil ? "the delivery was removed because of its age" : result.reason
            logger.error("outgoing webhook given up", metadata: metadata(message, ["reason": "\(reason)"]))
        }
        await write(outgoing, ending)
    }

    /// An ending is worth several tries: without it the lease runs out and the message is sent again.
    private func write(_ outgoing: OutgoingMessage, _ ending: OutboxScript.Ending) async {
        for _ in 1...5 {
            do {
                let now = clock.now()
                _ = try await store.write { try OutboxScript.finish(outgoing, ending, at: now, in: $0) }
                return
            } catch {
                logger.warning("the end of an outgoing webhook was not stored", metadata: ["error": "\(error)"])
                try? await clock.sleep(for: .seconds(1))
            }
        }
    }

    private func tell(_ news: TargetMachine.News?, of target: String, _ result: Result) {
        let about: Logger.Metadata = ["target.host": "\(targets[target]?.host ?? "")", "target.id": "\(target)"]
        switch news {
        case nil: break
        case .failing:
            logger.warning(
                "receiver of outgoing webhooks fails, they wait for it",
                metadata: about.merging(["reason": "\(result.reason)"]) { $1 })
        case .back: logger.info("receiver of outgoing webhooks is back", metadata: about)
        case .gone:
            logger.warning(
                "receiver of outgoing webhooks wants no more: it is sent nothing until the next start",
                metadata: about)
        }
    }

    private func metadata(_ message: OutboxMessage, _ more: Logger.Metadata) -> Logger.Metadata {
        var base: Logger.Metadata = [
            "target.host": "\(targets[message.target]?.host ?? "")", "target.id": "\(message.target)",
            "message.source": "\(message.source)", "attempt": "\(message.attempt + 1)",
        ]
        if let uid = message.uid { base["clip.uid"] = "\(uid)" }
        return base.merging(more) { $1 }
    }
}
