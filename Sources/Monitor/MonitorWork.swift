// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import Logging
import NIOConcurrencyHelpers

/// Handing out actions and taking their outcomes.
extension Monitor {
    /// Idle, the loop sleeps until the next work is due; this bounds the sleep against a clock that is set.
    static var sleepMax: Duration { .seconds(60) }
    static var sleepSharedMax: Duration { .seconds(5) }

    func workLoop() async {
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                do {
                    let batches = try await claimDue()
                    for batch in batches {
                        let action = batch[0].action
                        let epochs = batch.map(\.epoch)
                        slots.take(action)
                        self.epochs.withLockedValue { $0.formUnion(epochs) }
                        group.addTask {
                            await self.perform(batch)
                            self.epochs.withLockedValue { $0.subtract(epochs) }
                            self.slots.giveBack(action)
                            self.work.wake()
                        }
                    }
                    if batches.isEmpty { await work.wait(atMost: try await timeToNextDue(), clock: clock) }
                } catch {
                    await pauseAfter(error, "claiming work failed")
                }
            }
        }
    }

    /// How many outcomes one transaction takes: a delivery that comes meanwhile waits for it.
    private static var finishedMax: Int { 20 }

    /// Actions that have a free slot.
    private var open: [Action] { Action.allCases.filter { slots.free(for: $0) > 0 } }

    private func timeToNextDue() async throws -> Duration {
        let (open, now) = (open, clock.now())
        // What another process does may not be told to this one.
        let longest = store.isShared ? Self.sleepSharedMax : Self.sleepMax
        let wait = try await store.read { transaction in
            try transaction.nextDue(open).map { $0 - (transaction.now ?? now) }
        }
        // What is due and was not to be had is another process' for a moment.
        if let wait, wait <= .zero, store.isShared { return .milliseconds(100) }
        return min(max(wait ?? longest, .milliseconds(1)), longest)
    }

    /// Claims what is due as far as there are slots, all in one transaction so that no claim is lost to a failure of
    /// the next, and bundles video checks.
    private func claimDue() async throws -> [[ActionRequest]] {
        let script = script()
        let (transfers, calls) = (slots.free(for: .transfer), slots.free(for: .checkVideo))
        let due = try await store.read { [open] in
            try !$0.dueWork(open, at: $0.now ?? script.now, limit: 1).isEmpty
        }
        guard due else { return [] }
        return try await store.write { [configuration] transaction in
            func claim(_ action: Action, _ limit: Int, ahead: Duration = .zero) throws -> [ActionRequest] {
                guard limit > 0 else { return [] }
                return try script.claim(
                    [action], owner: configuration.owner, lease: configuration.lease, limit: limit, ahead: ahead,
                    in: transaction)
            }
            // Steps that move a clip go before inquiries, and the inquiry that serves many before those that serve one.
            var batches = try claim(.transfer, transfers).map { [$0] }
            let requests = try claim(.requestMP4, calls).map { [$0] }
            var left = calls - requests.count
            batches += requests
            // Clips whose turns lie close together come into step, and share their calls from then on.
            let checks =
                left > 0
                ? try claim(.checkVideo, configuration.batchMax, ahead: configuration.policy.pollMin / 4) : []
            if !checks.isEmpty {
                batches.append(checks)
                left -= 1
            }
            return batches + (try claim(.checkMP4, left).map { [$0] })
        }
    }

    private func perform(_ batch: [ActionRequest]) async {
        let started = clock.now()
        let outcomes = await performer.perform(batch, reporter: LeaseReporter(monitor: self))
        metrics.time(batch[0].action, clock.now() - started)
        let missing = ActionOutcome.failed(
            ActionFailure(code: "no_outcome", message: "the action gave no outcome", isRetryable: true))
        let finished = batch.map { (request: $0, outcome: outcomes[$0.uid] ?? missing) }
        // Not a child task: what was cancelled has to give its leases back all the same.
        await Task {
            for start in stride(from: 0, to: finished.count, by: Self.finishedMax) {
                await self.finish(Array(finished[start..<min(start + Self.finishedMax, finished.count)]))
            }
        }.value
    }

    private func finish(_ batch: [(request: ActionRequest, outcome: ActionOutcome)]) async {
        for (request, outcome) in batch {
            metrics.count(request.action, outcome)
            logFailure(of: request, outcome)
        }
        // An outcome is worth several tries: without it the lease runs out and the action is done again.
        for attempt in 1...5 {
            do {
                let script = script()
                let results = try await store.write { transaction in
                    try script.finish(batch, in: transaction)
                }
                note(results.flatMap { $0.decisions?.all ?? [] })
                // Details are written without an entry.
                onChange()
                for (result, (request, outcome)) in zip(results, batch)
                where !result.isCurrent && outcome != .reported {
                    logger.warning("outcome of a lost lease dropped", metadata: metadata(request))
                }
                return
            } catch {
                logger.error("outcome not stored", metadata: metadata(batch[0].request, ["error": "\(error)"]))
                try? await clock.sleep(for: .milliseconds(200 * attempt))
            }
        }
    }

    private func logFailure(of request: ActionRequest, _ outcome: ActionOutcome) {
        switch outcome {
        case .observed, .abandoned, .reported:
            break
        case .failed(let failure), .mp4Missing(let failure):
            let level: Logger.Level = failure.isRetryable ? .notice : .warning
            logger.log(
                level: level, "action failed",
                metadata: metadata(
                    request,
                    [
                        "attempt": "\(request.work.attempt + 1)", "error.code": "\(failure.code)",
                        "error.message": "\(failure.message)",
                    ]))
        }
    }

    private func metadata(_ request: ActionRequest, _ more: Logger.Metadata = [:]) -> Logger.Metadata {
        var base: Logger.Metadata = ["clip.uid": "\(request.uid)", "action": "\(request.action.rawValue)"]
        if let trace = request.work.trace { base["trace.id"] = "\(trace)" }
        return base.merging(more) { _, new in new }
    }

    fileprivate func take(_ observation: Observation, for request: ActionRequest) async throws -> Bool {
        let script = script()
        let outcome = try await store.write { try script.report(observation, for: request, in: $0) }
        note(outcome.decisions?.all ?? [])
        onChange()
        if let failure = outcome.decisions.flatMap({ ActionFailure(refusedBy: $0.entry) }) { throw failure }
        return outcome.isCurrent
    }
}

/// Writes what a running action reports, under its lease.
private struct LeaseReporter<Store: ClipStore>: ActionReporter {
    let monitor: Monitor<Store>

    func report(_ observation: Observation, for request: ActionRequest) async throws -> Bool {
        try await monitor.take(observation, for: request)
    }

    func transfer(for request: ActionRequest) async throws -> TransferRecord? {
        try await monitor.store.read { try $0.transfer(of: request.uid) }
    }

    func save(_ transfer: TransferRecord?, for request: ActionRequest) async throws -> Bool {
        let script = monitor.script()
        return try await monitor.store.write { try script.save(transfer, for: request, in: $0) }
    }

    func save(_ part: TransferPart, for request: ActionRequest) async throws -> Bool {
        let script = monitor.script()
        return try await monitor.store.write { try script.save(part, for: request, in: $0) }
    }
}
