// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import ClipLifecycle

/// What happens inside a store's transactions, written once for every store.
public struct LedgerScript: Sendable {
    public var policy: LifecyclePolicy
    public var now: Timestamp
    public var jitter: Double
    /// Receivers outside, by their ids, that are told of changes of status.
    public var notifyTargets: [String]
    /// Told why the `clips` table does not let a row be created, or given a status.
    public var onRefusedRow: @Sendable (ClipUID, String) -> Void

    public init(
        policy: LifecyclePolicy, now: Timestamp, jitter: Double = 0.5, notifyTargets: [String] = [],
        onRefusedRow: @escaping @Sendable (ClipUID, String) -> Void = { _, _ in }
    ) {
        self.policy = policy
        self.now = now
        self.jitter = jitter
        self.notifyTargets = notifyTargets
        self.onRefusedRow = onRefusedRow
    }

    private var planner: WorkPlanner { WorkPlanner(policy: policy, now: now, jitter: jitter) }

    /// The same by the store's own clock, where it keeps one.
    private func timed(by store: some StoreTransaction) -> Self {
        guard let time = store.now else { return self }
        var script = self
        script.now = time
        return script
    }

    // MARK: Taking in

    /// Stores a delivery and its signal, undecided.
    public static func record(
        _ delivery: NewDelivery, in store: some StoreTransaction
    ) throws -> DeliveryReceipt {
        if let signal = delivery.signal { try store.lock([signal.uid]) }
        let (id, isDuplicate) = try store.insertDelivery(delivery)
        if isDuplicate { return .duplicate(of: String(id)) }
        for target in delivery.forwardTargets {
            try store.insertMessage(
                OutboxMessage(
                    target: target, kind: .delivery, uid: delivery.uid, source: id,
                    createdAt: store.now ?? delivery.receivedAt))
        }
        if let signal = delivery.signal, !store.keepsSignalsWaiting {
            _ = try take(WaitingSignal(delivery: id, at: delivery.receivedAt, signal: signal), in: store)
        }
        return .stored(id: String(id))
    }

    /// Puts a delivery's signal into the ledger, undecided.
    ///
    /// A row that another program inserted and that the bridge has not met goes before it, so that the ledger holds
    /// both in the order in which they are decided.
    /// - Returns: the entries, in their order.
    private static func take(_ waiting: WaitingSignal, in store: some StoreTransaction) throws -> [LedgerEntry] {
        let (signal, now) = (waiting.signal, waiting.at)
        try store.lock([signal.uid])
        var entries: [LedgerEntry] = []
        if try !store.isMet(signal.uid), let row = try store.clip(signal.uid), let status = row.status,
            try !store.pendingEntries(of: signal.uid).contains(where: { $0.isAdoption(at: status) })
        {
            let adoption = Signal(uid: signal.uid, source: .external, status: status)
            let seq = try store.insertSignal(adoption, delivery: nil, at: now)
            entries.append(LedgerEntry(seq: seq, at: now, signal: adoption))
        }
        let seq = try store.insertSignal(signal, delivery: waiting.delivery, at: now)
        entries.append(LedgerEntry(seq: seq, at: now, signal: signal, delivery: String(waiting.delivery)))
        return entries
    }

    /// Puts the signal of a delivery that is fed through again into the ledger, undecided, behind all that its clip was
    /// told before.
    public static func replay(
        _ signal: Signal, delivery: Int64, at now: Timestamp, in store: some StoreTransaction
    ) throws {
        try store.lock([signal.uid])
        let again = WaitingSignal(delivery: delivery, at: now, signal: signal)
        for one in try store.takeWaiting(of: signal.uid) + [again] { _ = try take(one, in: store) }
    }

    /// Puts the oldest signals that stay with their deliveries into the ledger, undecided.
    /// - Returns: how many.
    public static func takeWaiting(limit: Int, in store: some StoreTransaction) throws -> Int {
        let waiting = try store.takeWaiting(limit: limit)
        for one in waiting { _ = try take(one, in: store) }
        return waiting.count
    }

    // MARK: Deciding

    /// Decides the oldest undecided entries in ledger order, and then signals that have none yet.
    public func applyPending(limit: Int, in store: some StoreTransaction) throws -> [LedgerEntry] {
        let script = timed(by: store)
        let pending = try store.pendingEntries(limit: limit)
        var held: Set<ClipUID> = []
        let decided = try pending.flatMap { entry -> [LedgerEntry] in
            if held.contains(entry.signal.uid) { return [] }
            do {
                return try script.decide(entry, in: store)
            } catch let error as StoreError where error.code == .rowHeld {
                // Its clip's signals stay, in their order.
                held.insert(entry.signal.uid)
                return []
            }
        }
        let waiting = try store.takeWaiting(limit: limit - pending.count)
        return decided + (try waiting.flatMap { try script.decide($0, in: store) })
    }

    private func decide(_ waiting: WaitingSignal, in store: some StoreTransaction) throws -> [LedgerEntry] {
        try Self.take(waiting, in: store).flatMap { try decide($0, in: store) }
    }

    /// Takes a signal into the ledger and decides it, after what the clip's ledger already holds.
    /// - Parameter registers: the signal creates the clip that it speaks of if there is none.
    /// - Returns: everything that was decided; the signal's own entry is the last.
    public func submit(
        _ signal: Signal, registers: Bool = false, epoch: Int64? = nil, in store: some StoreTransaction
    ) throws -> Decisions {
        try store.lock([signal.uid])
        let script = timed(by: store)
        var decided = try store.pendingEntries(of: signal.uid).flatMap { try script.decide($0, in: store) }
        decided += try store.takeWaiting(of: signal.uid).flatMap { try script.decide($0, in: store) }
        if let row = try store.clip(signal.uid), !row.isMet, let status = row.status,
            let adopted = try script.adopt(row, at: status, in: store)
        {
            decided.append(adopted)
        }
        let seq = try store.insertSignal(signal, delivery: nil, at: script.now)
        decided += try script.decide(
            LedgerEntry(seq: seq, at: script.now, signal: signal), registers: registers, epoch: epoch, in: store)
        return Decisions(all: decided)
    }

    /// - Returns: what was decided: the adoption of an unmet row, if it needed one, and last the entry itself.
    private func decide(
        _ pending: LedgerEntry, registers: Bool = false, epoch: Int64? = nil, in store: some StoreTransaction
    ) throws -> [LedgerEntry] {
        let signal = pending.signal
        var decided: [LedgerEntry] = []
        var clip = try store.clip(signal.uid)
        if let row = clip, !row.isMet, let status = row.status,
            let adopted = try adopt(row, at: status, as: pending, in: store)
        {
            if adopted.seq == pending.seq { return [adopted] }
            decided.append(adopted)
            clip = try store.clip(signal.uid)
        }
        let before = clip?.machine ?? ClipStateMachine(position: .absent)
        // Only a delivery or a registration brings a clip into being: a poll, an action or another program's wish
        // speaks of one that must be there.
        let creates = registers || (signal.source == .webhook && policy.createsUnknownClips)
        var update = ClipUpdate(of: before, by: signal, createsUnknown: creates, at: now)
        if let refusal = try write(update, uid: signal.uid, in: store) { update.decision = .rejected(refusal) }
        // A row that was removed and came back may still have work of before.
        let present = if let clip, clip.isMet { clip.work } else { try store.work(of: signal.uid) }
        try replan(update.decision, signal: signal, present: present, in: store)
        var entry = pending
        entry.settle(update.decision, before: before)
        try store.settleEntry(entry, epoch: epoch, at: now)
        try announce(entry, in: store)
        return decided + [entry]
    }

    private func write(
        _ update: ClipUpdate, uid: ClipUID, in store: some StoreTransaction
    ) throws -> RejectionReason? {
        switch update.decision {
        case .applied(nil, _):
            if let why = try store.insertClip(uid, machine: update.machine, patch: update.patch, at: now) {
                onRefusedRow(uid, why)
                return .unknownClip
            }
            return nil
        case .applied(let from?, _), .merged(let from):
            switch try store.updateClip(uid, from: from, machine: update.machine, patch: update.patch, at: now) {
            case .updated:
                return nil
            case .outdated:
                return .unknownStatus
            case .refused(let why):
                onRefusedRow(uid, why)
                return .unknownStatus
            }
        case .rejected:
            return nil
        }
    }

    private func replan(
        _ decision: ClipStateMachine.Decision, signal: Signal, present: Work?, in store: some StoreTransaction
    ) throws {
        if case .rejected = decision { return }
        let hurries: Bool =
            switch signal.source {
            case .webhook, .operator, .external: true
            case .poll, .pipeline: false
            }
        var next = planner.work(after: decision, uid: signal.uid, present: present, hurries: hurries)
        next?.trace = signal.trace ?? present?.trace
        guard next != present else { return }
        if let next { try store.putWork(next) } else { try store.removeWork(of: signal.uid) }
    }

    // MARK: Work

    /// Claims due work for `owner`, at most `limit`.
    /// - Parameter ahead: where there is any, work that is due so soon is taken with it.
    public func claim(
        _ actions: [Action], owner: String, lease: Duration, limit: Int, ahead: Duration = .zero,
        in store: some StoreTransaction
    ) throws -> [ActionRequest] {
        let now = timed(by: store).now
        if ahead > .zero, try store.dueWork(actions, at: now, limit: 1).isEmpty { return [] }
        return try store.dueWork(actions, at: now + ahead, limit: limit).compactMap { due in
            guard let clip = try store.clip(due.uid), let status = clip.status, status.allows(due.action) else {
                try timed(by: store).follow(due, in: store)
                return nil
            }
            var work = due
            let epoch = try store.nextEpoch()
            work.lease = Lease(owner: owner, until: now + lease, epoch: epoch)
            try store.putWork(work)
            // An inquiry looks at no details, and reading them is not free.
            let details = due.action.isPoll ? Details() : clip.details
            return ActionRequest(work: work, status: status, details: details, epoch: epoch)
        }
    }

    /// The row was removed or changed by somebody else: what its status calls for is done, and nothing for no row.
    private func follow(_ due: Work, in store: some StoreTransaction) throws {
        let status = try store.clip(due.uid)?.status
        guard let action = status?.action(requestsMP4: policy.requestsMP4), action != due.action else {
            return try store.removeWork(of: due.uid)
        }
        try store.putWork(Work(uid: due.uid, action: action, dueAt: now, stageEnteredAt: now))
    }

    /// The first crash may have had any cause. After another one the clip stands back, each time for longer: whoever
    /// was only in flight while something else killed the process again and again is not when that happens next, and a
    /// clip that does kill its process stops the others ever less often.
    private static func pause(afterCrashes crashes: Int) -> Duration {
        crashes > 1 ? min(.seconds(20) * Double(1 << min(crashes - 2, 16)), .seconds(3_600)) : .zero
    }

    /// Work of a process that has died becomes due again; a clip that took too many processes with it is stopped.
    ///
    /// Of several clips that were in flight nobody knows which it was, so only one that dies alone is set aside.
    /// - Parameter renewal: how often owners prolong their leases: what a dead one claimed since it last did runs out
    ///   that much later, and is rescued with the rest.
    public func rescue(limit: Int, renewal: Duration = .seconds(5), in store: some StoreTransaction) throws
        -> [LedgerEntry]
    {
        let script = timed(by: store)
        let dead = try store.expiredWork(at: script.now, until: script.now + renewal, limit: limit)
        let inFlight = Dictionary(grouping: dead) { $0.lease?.owner }.mapValues(\.count)
        return try dead.flatMap { expired -> [LedgerEntry] in
            var work = expired
            let wasAlone = inFlight[expired.lease?.owner] == 1
            work.lease = nil
            work.crashes += 1
            work.dueAt = script.now + Self.pause(afterCrashes: work.crashes)
            try store.putWork(work)
            guard wasAlone, work.crashes >= policy.crashesMax else { return [] }
            let failure = ActionFailure(
                code: "quarantined",
                message: "\(work.crashes) processes died during \"\(work.action.rawValue)\" of this clip without any "
                    + "progress: it is set aside until an operator retries it", isRetryable: false)
            var signal = WorkPlanner.stopSignal(failure, uid: work.uid)
            signal.trace = work.trace
            return try submit(signal, in: store).all
        }
    }

    /// Leases of every other owner are void: for a store that only one process can have at a time.
    public func voidLeases(exceptOf owner: String, in store: some StoreTransaction) throws {
        let now = timed(by: store).now
        try store.endLeases(exceptOf: owner, at: now)
        try store.endMessageLeases(exceptOf: owner, at: now)
    }

    /// Prolongs the owner's leases of these epochs. One that ran out unnoticed, because the whole process stood
    /// still, is the owner's as long as nobody has taken the work over.
    public func renew(
        owner: String, lease: Duration, epochs: Set<Int64>, in store: some StoreTransaction
    ) throws {
        try store.renewLeases(owner: owner, epochs: epochs, until: timed(by: store).now + lease)
    }

    /// Takes what a running action reports.
    /// - Returns: false when its lease is lost, and nothing is changed then, or when the clip was moved meanwhile so
    ///   that the report was rejected.
    public func report(
        _ observation: Observation, for request: ActionRequest, in store: some StoreTransaction
    ) throws -> Outcome {
        try store.lock([request.uid])
        guard try store.work(of: request.uid)?.lease?.epoch == request.epoch else { return Outcome(isCurrent: false) }
        guard let status = observation.status else {
            try forgetCrashes(of: request, in: store)
            try timed(by: store).note(observation, uid: request.uid, in: store)
            return Outcome(isCurrent: true)
        }
        let signal = Signal(
            uid: request.uid, source: .pipeline, request: .status(status), details: observation.details,
            percent: observation.percent, trace: request.work.trace)
        let decisions = try submit(signal, epoch: request.epoch, in: store)
        if decisions.entry.outcome == .applied { try forgetCrashes(of: request, in: store) }
        return Outcome(isCurrent: decisions.entry.outcome != .rejected, decisions: decisions)
    }

    /// There was progress. That an action has begun anew in the same status is none.
    private func forgetCrashes(of request: ActionRequest, in store: some StoreTransaction) throws {
        guard var work = try store.work(of: request.uid), work.lease?.epoch == request.epoch, work.crashes > 0
        else { return }
        work.crashes = 0
        try store.putWork(work)
    }

    /// Keeps a running transfer's record, or with nil forgets it.
    /// - Returns: false when the lease is lost; nothing is changed then.
    public func save(
        _ transfer: TransferRecord?, for request: ActionRequest, in store: some StoreTransaction
    ) throws -> Bool {
        try store.lock([request.uid])
        let work = try store.work(of: request.uid)
        if let transfer {
            guard work?.lease?.epoch == request.epoch else { return false }
            try store.putTransfer(transfer, of: request.uid)
        } else {
            // A finished clip has no work any more, and nobody else can be at it.
            guard work == nil || work?.lease?.epoch == request.epoch else { return false }
            try store.removeTransfer(of: request.uid)
        }
        return true
    }

    /// Keeps one part of a running transfer.
    /// - Returns: false when the lease is lost; nothing is changed then.
    public func save(
        _ part: TransferPart, for request: ActionRequest, in store: some StoreTransaction
    ) throws -> Bool {
        try store.lock([request.uid])
        guard try store.work(of: request.uid)?.lease?.epoch == request.epoch else { return false }
        try store.putTransferPart(part, of: request.uid)
        try forgetCrashes(of: request, in: store)
        return true
    }

    /// Takes the outcomes of actions that were performed together.
    /// - Returns: for each, whether the lease was still held, and what was decided.
    public func finish(
        _ batch: [(request: ActionRequest, outcome: ActionOutcome)], in store: some StoreTransaction
    ) throws -> [Outcome] {
        try store.lock(batch.map(\.request.uid))
        return try batch.map { try finish($0.request, $0.outcome, in: store) }
    }

    /// Takes an action's outcome.
    /// - Returns: whether the lease was still held, and what was decided.
    public func finish(
        _ request: ActionRequest, _ outcome: ActionOutcome, in store: some StoreTransaction
    ) throws -> Outcome {
        try store.lock([request.uid])
        guard let held = try store.work(of: request.uid), held.lease?.epoch == request.epoch else {
            return Outcome(isCurrent: false)
        }
        let script = timed(by: store)
        guard let clip = try store.clip(request.uid), let status = clip.status else {
            try store.removeWork(of: request.uid)
            return Outcome(isCurrent: true)
        }
        // The clip and its counters may have moved under the same lease since the action was handed out.
        // Its details are only compared with what was observed; reading them is not free.
        let details = if case .observed = outcome { clip.details } else { Details() }
        let current = ActionRequest(work: held, status: status, details: details, epoch: request.epoch)
        let plan = script.planner.plan(after: outcome, of: current)
        var released = held
        released.lease = nil
        try store.putWork(released)
        var signal = plan.signal
        signal?.trace = held.trace
        let decisions = try signal.map { try submit($0, epoch: request.epoch, in: store) }
        if let decisions, let failure = ActionFailure(refusedBy: decisions.entry) {
            return Outcome(
                isCurrent: true, decisions: try script.setBack(current, failure, after: decisions, in: store))
        }
        if let details = plan.details { try script.note(details, uid: request.uid, in: store) }
        if let next = plan.work {
            try putIfFitting(next, in: store)
        } else if decisions?.entry.outcome == .rejected {
            try script.putOff(request.uid, in: store)
        }
        return Outcome(isCurrent: true, decisions: decisions)
    }

    /// The table does not take the status that an outcome leads to. As after any failure the action is done again, ever
    /// later, and the clip is stopped in the end, if the table takes that.
    private func setBack(
        _ request: ActionRequest, _ failure: ActionFailure, after decisions: Decisions, in store: some StoreTransaction
    ) throws -> Decisions {
        let plan = planner.plan(after: .failed(failure), of: request)
        if let details = plan.details { try note(details, uid: request.uid, in: store) }
        if let next = plan.work { try putIfFitting(next, in: store) }
        guard var stop = plan.signal else { return decisions }
        stop.trace = request.work.trace
        let stopped = try submit(stop, epoch: request.epoch, in: store)
        if stopped.entry.outcome == .rejected { try putOff(request.uid, in: store) }
        return Decisions(all: decisions.all + stopped.all)
    }

    /// The clip can not be stopped, or was moved meanwhile: whatever is to be done comes round in time, and not at once
    /// and for ever.
    private func putOff(_ uid: ClipUID, in store: some StoreTransaction) throws {
        guard var work = try store.work(of: uid), work.lease == nil, work.dueAt <= now else { return }
        work.polls += 1
        work.dueAt = now + policy.pollMax
        try store.putWork(work)
    }

    /// Work that the outcome asks for stands only if the status that the clip has now allows it.
    private func putIfFitting(_ work: Work, in store: some StoreTransaction) throws {
        guard let status = try store.clip(work.uid)?.status, status.allows(work.action) else { return }
        try store.putWork(work)
    }

    /// Details without a ledger entry.
    private func note(_ observation: Observation, uid: ClipUID, in store: some StoreTransaction) throws {
        guard let clip = try store.clip(uid), let status = clip.status else { return }
        let update = ClipUpdate(
            of: clip.machine, percent: observation.percent, details: observation.details, at: now)
        _ = try store.updateClip(uid, from: status, machine: update.machine, patch: update.patch, at: now)
    }

    /// Makes the clip's work due now, or gives it this work if its status allows it.
    /// - Returns: false when somebody is at it already or the status does not allow it.
    public func expedite(_ uid: ClipUID, _ action: Action, in store: some StoreTransaction) throws -> Bool {
        try store.lock([uid])
        let now = timed(by: store).now
        guard let status = try store.clip(uid)?.status, status.allows(action) else { return false }
        var work = try store.work(of: uid) ?? Work(uid: uid, action: action, dueAt: now, stageEnteredAt: now)
        guard work.lease == nil else { return false }
        work.action = action
        work.dueAt = now
        work.trace = .current ?? work.trace
        try store.putWork(work)
        return true
    }

    // MARK: Other programs

    /// Takes rows that other programs inserted into the ledger, at the status that they have: a page in the order of
    /// their uids.
    /// - Returns: how many were taken, and where the next page begins; nil behind the last.
    public func adopt(
        after: ClipUID? = nil, limit: Int, in store: some StoreTransaction
    ) throws -> (count: Int, next: ClipUID?) {
        let script = timed(by: store)
        let rows = try store.unmetClips(after: after, limit: limit)
        let count = try rows.count { row in
            guard let status = row.status else { return false }
            let pending = try store.pendingEntries(of: row.uid).first
            return try script.adopt(row, at: status, as: pending, in: store) != nil
        }
        return (count, rows.last?.uid)
    }

    /// - Parameter pending: the ledger's oldest undecided entry of the clip, which may be this very adoption.
    /// - Returns: the entry; nil when the table refuses even the bridge's details.
    private func adopt(
        _ row: ClipRecord, at status: ClipStatus, as pending: LedgerEntry? = nil, in store: some StoreTransaction
    ) throws -> LedgerEntry? {
        let signal = Signal(uid: row.uid, source: .external, status: status)
        let absent = ClipStateMachine(position: .absent)
        var update = ClipUpdate(of: absent, by: signal, createsUnknown: true, at: now)
        // The row may have come with a reason of its own, which is better than ours.
        update.patch = update.patch.filter { $0.value != .null && row.details[$0.key] == nil }
        if let why = try store.insertClip(row.uid, machine: update.machine, patch: update.patch, at: now) {
            onRefusedRow(row.uid, why)
            return nil
        }
        try replan(update.decision, signal: signal, present: try store.work(of: row.uid), in: store)
        var entry: LedgerEntry
        if let pending, pending.isAdoption(at: status) {
            entry = pending
        } else {
            entry = LedgerEntry(seq: try store.insertSignal(signal, delivery: nil, at: now), at: now, signal: signal)
        }
        entry.settle(update.decision, before: absent)
        try store.settleEntry(entry, epoch: nil, at: now)
        try announce(entry, in: store)
        return entry
    }

    /// Lifts `requested_status` of other programs into the ledger and decides it, in one transaction.
    public func liftRequests(limit: Int, in store: some StoreTransaction) throws -> [LedgerEntry] {
        try store.requestingRows(limit: limit).flatMap { row -> [LedgerEntry] in
            // What can not be removed would be lifted again and again.
            guard try store.clearRequest(uid: row.uid), let uid = ClipUID(row.uid), let word = row.requestedStatus
            else { return [] }
            return try submit(
                Signal(uid: uid, source: .external, request: .init(requestedStatus: word)), in: store
            ).all
        }
    }
}

extension LedgerScript {
    /// What one signal had decided: the clip's earlier undecided entries, and its own.
    public struct Decisions: Sendable, Equatable {
        /// In the order of their decisions, and never empty.
        public let all: [LedgerEntry]

        /// The signal's own.
        public var entry: LedgerEntry { all[all.count - 1] }
    }

    /// What became of a report or an outcome.
    public struct Outcome: Sendable {
        /// False when the lease is lost, or when a report's signal was rejected.
        public var isCurrent: Bool
        public var decisions: Decisions?
    }
}

extension ActionFailure {
    /// The table does not take the status of an action's own signal, whose word is one of ours.
    public init?(refusedBy entry: LedgerEntry) {
        guard entry.reason == .unknownStatus else { return nil }
        self.init(
            code: "status_refused",
            message: "the clips table does not take the status \"\(entry.requestedStatus ?? "")\": see its constraints",
            isRetryable: true)
    }
}

extension LedgerEntry {
    /// Whether it takes a row of another program into the ledger at this status.
    fileprivate func isAdoption(at status: ClipStatus) -> Bool {
        signal.source == .external && delivery == nil && signal.request == .status(status)
    }
}
