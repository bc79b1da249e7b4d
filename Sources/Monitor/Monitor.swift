// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle
public import ClipStore
public import Logging
import NIOConcurrencyHelpers
public import ServiceLifecycle

/// Nobody else writes a clip's status: applies the ledger, hands out actions under leases, and takes their outcomes.
///
/// Five loops, each asleep until there is something to do: decide what was stored, start what is due, renew leases,
/// look for other programs' writes, and tidy up.
public final class Monitor<Store: ClipStore>: Service, SignalSink {
    let store: Store
    let performer: any ActionPerformer
    let configuration: MonitorConfiguration
    let clock: any WallClock
    let logger: Logger
    let slots: ActionSlots
    let signals = Wakeup()
    let work = Wakeup()
    let metrics = MonitorMetrics()
    /// Spreads out what would come round together: 0…1, anew for each plan.
    let jitter: @Sendable () -> Double
    /// Runs after clips may have changed.
    let onChange: @Sendable () -> Void
    /// The epochs of the leases under which something runs here.
    let epochs = NIOLockedValueBox<Set<Int64>>([])
    private let foreignRowsCountedAt = NIOLockedValueBox<Timestamp?>(nil)

    /// - Parameter onChange: runs after clips may have changed, and has to return at once.
    public init(
        store: Store, performer: any ActionPerformer, configuration: MonitorConfiguration,
        clock: any WallClock = SystemWallClock(), logger: Logger,
        jitter: @escaping @Sendable () -> Double = { .random(in: 0...1) }, onChange: @escaping @Sendable () -> Void = {}
    ) {
        self.store = store
        self.performer = performer
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        self.jitter = jitter
        self.onChange = onChange
        self.slots = ActionSlots(transfersMax: configuration.transfersMax, callsMax: configuration.callsMax)
    }

    /// Something was stored by somebody else: a delivery's signal, or work that an operator made due.
    public func wake() {
        signals.wake()
        work.wake()
    }

    /// Takes a signal into the ledger and decides it; durable when it returns.
    public func submit(_ signal: Signal) async throws -> LedgerEntry {
        try await submit(signal, registers: false)
    }

    /// Creates the clip that the signal speaks of if there is none.
    public func register(_ signal: Signal) async throws -> LedgerEntry {
        try await submit(signal, registers: true)
    }

    private func submit(_ signal: Signal, registers: Bool) async throws -> LedgerEntry {
        let script = script()
        var signal = signal
        signal.trace = signal.trace ?? .current
        let decisions = try await store.write { [signal] in try script.submit(signal, registers: registers, in: $0) }
        note(decisions.all)
        work.wake()
        return decisions.entry
    }

    /// - Parameter time: nil for now.
    func script(at time: Timestamp? = nil) -> LedgerScript {
        LedgerScript(
            policy: configuration.policy, now: time ?? clock.now(), jitter: jitter(),
            notifyTargets: configuration.notifyTargets
        ) { [logger] uid, why in
            logger.warning(
                "clips table refuses a row", metadata: ["clip.uid": "\(uid)", "error.message": "\(why)"])
        }
    }

    // MARK: Running

    /// Serves until graceful shutdown or cancellation.
    public func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.decideLoop() }
            group.addTask { await self.workLoop() }
            group.addTask { await self.store.watch { self.wake() } }
            group.addTask { await self.leaseLoop() }
            group.addTask { await self.foreignLoop() }
            group.addTask { await self.every(self.configuration.housekeepingInterval) { await self.tidyUp() } }
            await withTaskCancellationOrGracefulShutdownHandler {
                await Self.sleepUntilCancelled()
            } onCancelOrGracefulShutdown: {
                self.slots.close()
                self.wake()
            }
            // What runs may come to its end; then the rest is cancelled and hands its lease back.
            await slots.drained(atMost: configuration.drain, clock: clock)
            group.cancelAll()
        }
    }

    private static func sleepUntilCancelled() async {
        let forever = AsyncStream<Void> { _ in }
        await cancelWhenGracefulShutdown { for await _ in forever {} }
    }

    private func every(_ interval: Duration, _ body: () async -> Void) async {
        while !Task.isCancelled {
            await body()
            do { try await clock.sleep(for: interval) } catch { return }
        }
    }

    // MARK: Deciding

    /// How many entries one transaction decides: enough for speed, few enough not to keep deliveries waiting.
    private static var decisionsMax: Int { 32 }

    private func decideLoop() async {
        while !Task.isCancelled {
            do {
                let script = script()
                let entries = try await store.write { try script.applyPending(limit: Self.decisionsMax, in: $0) }
                note(entries)
                if entries.isEmpty {
                    // A commit whose answer was lost has woken nobody.
                    await signals.wait(atMost: store.isShared ? Self.sleepSharedMax : Self.sleepMax, clock: clock)
                } else {
                    work.wake()
                }
            } catch {
                await pauseAfter(error, "deciding signals failed")
            }
        }
    }

    /// Logs and counts decisions, and tells of them.
    func note(_ entries: [LedgerEntry]) {
        if !entries.isEmpty { onChange() }
        let now = clock.now()
        for entry in entries {
            metrics.count(entry, lag: now - entry.at)
            guard entry.outcome == .applied, let to = entry.to else { continue }
            var metadata: Logger.Metadata = [
                "clip.uid": "\(entry.signal.uid)", "clip.status": "\(to.rawValue)",
                "signal.source": "\(entry.signal.source.rawValue)", "signal.seq": "\(entry.seq)",
            ]
            if let trace = entry.signal.trace { metadata["trace.id"] = "\(trace)" }
            if let from = entry.from { metadata["clip.status_before"] = "\(from.rawValue)" }
            if to == .error, let why = entry.signal.details[.errorMessage]?.stringValue {
                metadata["error.message"] = "\(why)"
            }
            logger.info("clip changed status", metadata: metadata)
        }
    }

    func pauseAfter(_ error: any Error, _ message: Logger.Message) async {
        if Task.isCancelled { return }
        logger.error(message, metadata: ["error": "\(error)"])
        try? await clock.sleep(for: .seconds(1))
    }

    // MARK: Timers

    /// After a process has stood still it is its own leases' turn first, before those of the dead are looked for. And
    /// after a store was away nobody could prolong any: then all owners have time to do that before one counts as dead.
    private func leaseLoop() async {
        var renewedAt = clock.now()
        var troubledAt: Timestamp?
        let patience = configuration.leaseRenewal + configuration.rescueInterval
        await every(min(configuration.rescueInterval, configuration.leaseRenewal)) {
            let now = clock.now()
            if now - renewedAt >= configuration.leaseRenewal {
                if await renewLeases() { renewedAt = now } else { troubledAt = clock.now() }
            }
            guard troubledAt.map({ clock.now() - $0 >= patience }) ?? true else { return }
            if await !rescue(at: now) { troubledAt = clock.now() }
        }
    }

    /// - Returns: whether the store has taken it.
    private func renewLeases() async -> Bool {
        do {
            let script = script()
            let (owner, lease, epochs) = (configuration.owner, configuration.lease, epochs.withLockedValue { $0 })
            if !epochs.isEmpty {
                try await store.write { [clock] in
                    var script = script
                    // From when the store takes it, which may be later.
                    script.now = clock.now()
                    try script.renew(owner: owner, lease: lease, epochs: epochs, in: $0)
                }
            }
            return true
        } catch {
            await pauseAfter(error, "renewing leases failed")
            return false
        }
    }

    /// More than one process can have in flight, so that all of a dead one's come together.
    private static var rescuedMax: Int { 1_000 }

    /// - Parameter time: of the look at our own leases: the process may have stood still since.
    /// - Returns: whether the store could be asked.
    private func rescue(at time: Timestamp) async -> Bool {
        do {
            let script = script(at: time)
            let isDead = try await store.read { transaction in
                let now = transaction.now ?? script.now
                return try !transaction.expiredWork(at: now, until: now, limit: 1).isEmpty
            }
            guard isDead else { return true }
            let renewal = configuration.leaseRenewal
            note(try await store.write { try script.rescue(limit: Self.rescuedMax, renewal: renewal, in: $0) })
            work.wake()
            return true
        } catch {
            await pauseAfter(error, "rescuing work failed")
            return false
        }
    }

    private static var foreignCountInterval: Duration { .seconds(60) }

    /// How many rows of other programs one transaction takes.
    private static var foreignMax: Int { 128 }

    private func foreignLoop() async {
        // A look that failed is owed: the store tells of each write only once.
        var isOwed = false
        await every(configuration.foreignInterval) { isOwed = await !takeForeignWrites(isOwed: isOwed) }
    }

    /// - Returns: whether everything that was there was taken.
    private func takeForeignWrites(isOwed: Bool) async -> Bool {
        do {
            guard try await store.foreignWritesSinceLastCall() || isOwed else { return true }
            try await adoptRows()
            while !Task.isCancelled {
                let script = script()
                let lifted = try await store.write { try script.liftRequests(limit: Self.foreignMax, in: $0) }
                if lifted.isEmpty { break }
                note(lifted)
                work.wake()
            }
            await countForeignRows()
            return true
        } catch {
            await pauseAfter(error, "reading other programs' rows failed")
            return false
        }
    }

    /// It takes a look at every row, which is seldom worth it, and nothing depends on it.
    private func countForeignRows() async {
        let now = clock.now()
        let isDue = foreignRowsCountedAt.withLockedValue { countedAt in
            guard countedAt.map({ now - $0 >= Self.foreignCountInterval }) ?? true else { return false }
            countedAt = now
            return true
        }
        guard isDue, let count = try? await store.read({ try $0.foreignRowCount() }) else { return }
        metrics.foreignRows(count)
    }

    private func adoptRows() async throws {
        guard try await store.read({ try !$0.unmetClips(after: nil, limit: 1).isEmpty }) else { return }
        var next: ClipUID?
        repeat {
            let (script, after) = (script(), next)
            let page = try await store.write { try script.adopt(after: after, limit: Self.foreignMax, in: $0) }
            if page.count > 0 {
                onChange()
                logger.info("rows adopted", metadata: ["rows": "\(page.count)"])
                work.wake()
            }
            next = page.next
        } while next != nil && !Task.isCancelled
    }

    private func tidyUp() async {
        do {
            let limit = clock.now() + .zero - configuration.retention
            while try await store.write({ try $0.deleteDeliveries(receivedBefore: limit, limit: 1_000) }) == 1_000 {}
        } catch {
            await pauseAfter(error, "removing old deliveries failed")
        }
    }
}

extension Timestamp {
    fileprivate static func - (left: Self, right: Duration) -> Self {
        Timestamp(milliseconds: left.milliseconds - right.wholeMilliseconds)
    }
}
