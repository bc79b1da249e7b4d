// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
package import ClipStore
import Testing

/// What every store has to do alike. Each function takes a fresh, migrated store.
package enum ClipStoreConformance {
    /// The suite's cases by name, so that a store's tests run each as a case of its own.
    package enum Case: String, CaseIterable, Sendable {
        case sixtyFourIdenticalDeliveriesAreAcceptedOnce
        case deliveryKeepsItsBytes
        case deliveriesArePagedNewestFirst
        case oldDeliveriesAreRemovedAndForgotten
        case signalsOfAClipAreDecidedInLedgerOrder
        case unknownClipIsRejectedAndKept
        case updateNamesTheStatusItLeaves
        case detailsAreMergedAndUnknownKeysKept
        case walkShowsAnUnchangedClipExactlyOnce
        case onlyOneClaimWinsAClip
        case staleEpochChangesNothing
        case expiredLeaseIsRescuedAndCounted
        case clipThatKillsThreeProcessesIsQuarantined
        case workFollowsTheStatus
        case retryReturnsToTheFailedStatus
        case failedTransactionLeavesNothing
        case ledgerRefoldsToTheTable
        case transferIsKept
        case countsFollowTheStatuses
        case longestInStageIsToldByStatus
        case activityTellsWhatGoesOn
        case statusTimesAreThoseOfTheLastTransition
        case copyOfAStoreGoesOnWhereItWas
        case outboxTellsOfChangesOnly
        case nothingIsToldOfWhatWasNotCommitted
        case deliveryIsPassedOnOnce
        case messagesOfAClipKeepTheirOrder
        case onlyOneClaimWinsAMessage
        case messageOfALostLeaseIsAnothers
        case messagesToNobodyAreRemoved
        case traceGoesFromTheSignalThroughTheWork
        case signalTellsOfWhatWasDecidedBeforeIt
    }

    package static func run(_ name: Case, on store: some ClipStore) async throws {
        switch name {
        case .sixtyFourIdenticalDeliveriesAreAcceptedOnce: try await sixtyFourIdenticalDeliveries(store)
        case .deliveryKeepsItsBytes: try await deliveryKeepsItsBytes(store)
        case .deliveriesArePagedNewestFirst: try await deliveriesArePaged(store)
        case .oldDeliveriesAreRemovedAndForgotten: try await oldDeliveriesAreRemoved(store)
        case .signalsOfAClipAreDecidedInLedgerOrder: try await ledgerOrder(store)
        case .unknownClipIsRejectedAndKept: try await unknownClip(store)
        case .updateNamesTheStatusItLeaves: try await updateNamesTheStatus(store)
        case .detailsAreMergedAndUnknownKeysKept: try await detailsAreMerged(store)
        case .walkShowsAnUnchangedClipExactlyOnce: try await walk(store)
        case .onlyOneClaimWinsAClip: try await onlyOneClaimWins(store)
        case .staleEpochChangesNothing: try await staleEpoch(store)
        case .expiredLeaseIsRescuedAndCounted: try await expiredLease(store)
        case .clipThatKillsThreeProcessesIsQuarantined: try await quarantine(store)
        case .workFollowsTheStatus: try await workFollowsTheStatus(store)
        case .retryReturnsToTheFailedStatus: try await retry(store)
        case .failedTransactionLeavesNothing: try await failedTransaction(store)
        case .ledgerRefoldsToTheTable: try await refold(store)
        case .transferIsKept: try await transferIsKept(store)
        case .countsFollowTheStatuses: try await counts(store)
        case .longestInStageIsToldByStatus: try await longestInStage(store)
        case .activityTellsWhatGoesOn: try await activity(store)
        case .statusTimesAreThoseOfTheLastTransition: try await statusTimes(store)
        case .copyOfAStoreGoesOnWhereItWas: try await copy(store)
        case .outboxTellsOfChangesOnly: try await outboxTellsOfChangesOnly(store)
        case .nothingIsToldOfWhatWasNotCommitted: try await nothingIsToldOfWhatWasNotCommitted(store)
        case .deliveryIsPassedOnOnce: try await deliveryIsPassedOnOnce(store)
        case .messagesOfAClipKeepTheirOrder: try await messagesOfAClipKeepTheirOrder(store)
        case .onlyOneClaimWinsAMessage: try await onlyOneClaimWinsAMessage(store)
        case .messageOfALostLeaseIsAnothers: try await messageOfALostLeaseIsAnothers(store)
        case .messagesToNobodyAreRemoved: try await messagesToNobodyAreRemoved(store)
        case .traceGoesFromTheSignalThroughTheWork: try await trace(store)
        case .signalTellsOfWhatWasDecidedBeforeIt: try await earlierDecisions(store)
        }
    }

    static let start = Timestamp(seconds: 1_800_000_000)

    static func script(at seconds: Int64 = 0, _ policy: LifecyclePolicy = LifecyclePolicy()) -> LedgerScript {
        LedgerScript(policy: policy, now: Timestamp(seconds: start.seconds + seconds))
    }

    static func uid(_ number: Int) -> ClipUID {
        let digits = String(number)
        guard let uid = ClipUID(String(repeating: "0", count: 32 - digits.count) + digits) else {
            preconditionFailure("\(number) makes no uid")
        }
        return uid
    }

    static func delivery(_ uid: ClipUID, _ status: ClipStatus, body: String, at seconds: Int64 = 0) -> NewDelivery {
        var hash = [UInt8](body.utf8.prefix(32))
        hash += [UInt8](repeating: 0, count: 32 - hash.count)
        return NewDelivery(
            receivedAt: Timestamp(seconds: start.seconds + seconds), signedAt: start, signatureHeader: "time=1,sig1=0",
            body: Array(body.utf8), bodySHA256: hash, uid: uid, outcome: .accepted,
            signal: Signal(uid: uid, source: .webhook, status: status))
    }

    static func register(
        _ uid: ClipUID, _ status: ClipStatus = .uploading, details: Details = [:], on store: some ClipStore
    ) async throws {
        let script = script()
        _ = try await store.write {
            try script.submit(
                Signal(uid: uid, source: .operator, status: status, details: details), registers: true, in: $0)
        }
    }

    static func claim(
        _ actions: [Action] = Action.allCases, owner: String = "one", at seconds: Int64 = 5, limit: Int = 10,
        on store: some ClipStore
    ) async throws -> [ActionRequest] {
        let script = script(at: seconds)
        return try await store.write {
            try script.claim(actions, owner: owner, lease: .seconds(15), limit: limit, in: $0)
        }
    }

    private struct Stop: Error {}

    // MARK: Deliveries

    private static func sixtyFourIdenticalDeliveries(_ store: some ClipStore) async throws {
        let delivery = delivery(uid(1), .streamReady, body: "the same")
        let receipts = try await withThrowingTaskGroup(of: DeliveryReceipt.self) { group in
            for _ in 0..<64 { group.addTask { try await store.record(delivery) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let stored = receipts.compactMap { if case .stored(let id) = $0 { id } else { nil } }
        #expect(stored.count == 1)
        #expect(receipts.count { $0 == .duplicate(of: stored.first ?? "") } == 63)
        let script = script(at: 1)
        #expect(try await store.write { try script.applyPending(limit: 100, in: $0).count } == 1)
    }

    private static func deliveryKeepsItsBytes(_ store: some ClipStore) async throws {
        var odd = delivery(uid(1), .streamReady, body: "x")
        odd.body = (0...255).map(UInt8.init)
        odd.uid = nil
        odd.signal = nil
        odd.outcome = .malformed
        guard case .stored(let text) = try await store.record(odd), let id = Int64(text) else {
            Issue.record("the delivery was not stored")
            return
        }
        let kept = try await store.read { try $0.delivery(id) }
        #expect(kept?.body == odd.body)
        #expect(kept?.outcome == .malformed)
        #expect(kept?.uid == nil)
        #expect(kept?.signatureHeader == odd.signatureHeader)
        #expect(kept?.signedAt == odd.signedAt)
    }

    private static func deliveriesArePaged(_ store: some ClipStore) async throws {
        for number in 0..<7 {
            _ = try await store.record(delivery(uid(number % 2), .streamReady, body: "body \(number)"))
        }
        let first = try await store.read { try $0.deliveries(uid: nil, before: nil, limit: 4).map(\.id) }
        let last = first.last
        let second = try await store.read { try $0.deliveries(uid: nil, before: last, limit: 4).map(\.id) }
        #expect(first + second == [7, 6, 5, 4, 3, 2, 1])
        #expect(try await store.read { try $0.deliveries(uid: uid(1), before: nil, limit: 10).count } == 3)
    }

    private static func oldDeliveriesAreRemoved(_ store: some ClipStore) async throws {
        let old = delivery(uid(1), .queued, body: "old")
        _ = try await store.record(old)
        _ = try await store.record(delivery(uid(1), .queued, body: "new", at: 100))
        let script = script(at: 100)
        _ = try await store.write { try script.applyPending(limit: 10, in: $0) }
        let removed = try await store.write {
            try $0.deleteDeliveries(receivedBefore: Timestamp(seconds: start.seconds + 50), limit: 10)
        }
        #expect(removed == 1)
        guard case .stored = try await store.record(old) else {
            Issue.record("a removed delivery's body still counts as seen")
            return
        }
    }

    // MARK: Ledger

    private static func ledgerOrder(_ store: some ClipStore) async throws {
        let uid = uid(1)
        for (index, status) in [ClipStatus.queued, .streamReady, .processing].enumerated() {
            _ = try await store.record(delivery(uid, status, body: "body \(index)"))
        }
        let script = script(at: 1)
        let decided = try await store.write { try script.applyPending(limit: 2, in: $0) }
        #expect(decided.map(\.outcome) == [.applied, .applied])
        let rest = try await store.write { try script.applyPending(limit: 2, in: $0) }
        #expect(rest.map(\.reason) == [.backward])
        #expect(try await store.write { try script.applyPending(limit: 2, in: $0) } == [])
        let history = try await store.read { try $0.history(of: uid) }
        #expect(history == decided + rest)
        #expect(history.map(\.delivery) == ["1", "2", "3"])
        #expect(try await store.read { try $0.clip(uid)?.status } == .streamReady)
    }

    private static func unknownClip(_ store: some ClipStore) async throws {
        let uid = uid(1)
        var policy = LifecyclePolicy()
        policy.createsUnknownClips = false
        let script = script(policy)
        _ = try await store.record(delivery(uid, .queued, body: "b"))
        let decided = try await store.write { try script.applyPending(limit: 10, in: $0) }
        #expect(decided.map(\.reason) == [.unknownClip])
        #expect(try await store.read { try $0.clip(uid) } == nil)
        #expect(try await store.read { try $0.history(of: uid).count } == 1)
        let unknownWord = try await store.write {
            try script.submit(Signal(uid: uid, source: .operator, request: .unknown("banana")), registers: true, in: $0)
        }
        #expect(unknownWord.entry.reason == .unknownStatus)
    }

    private static func updateNamesTheStatus(_ store: some ClipStore) async throws {
        let uid = uid(1)
        try await register(uid, .queued, on: store)
        let machine = ClipStateMachine(position: .at(.processing), progress: 50)
        let late = try await store.write {
            try $0.updateClip(uid, from: .uploading, machine: machine, patch: ["x": 1], at: start)
        }
        #expect(late == .outdated)
        let clip = try await store.read { try $0.clip(uid) }
        #expect(clip?.status == .queued)
        #expect(clip?.details["x"] == nil)
    }

    private static func detailsAreMerged(_ store: some ClipStore) async throws {
        let uid = uid(1)
        try await register(
            uid, .queued, details: ["mine": ["a": 1, "b": "ü\"'"], "gone": true, "big": 9007199254740993], on: store)
        let script = script(at: 1)
        _ = try await store.write {
            try script.submit(
                Signal(
                    uid: uid, source: .operator, status: .queued,
                    details: ["mine": ["a": 2.5], "gone": nil, "progress": 1, "status_message": "no"]), in: $0)
        }
        let details = try await store.read { try $0.clip(uid)?.details }
        #expect(details?["mine"] == ["a": 2.5, "b": "ü\"'"])
        #expect(details?["big"] == 9007199254740993)
        #expect(details?["gone"] == nil)
        #expect(details?[.progress] == 30)
        #expect(details?[.statusMessage] == .string(ClipStatus.queued.message))
    }

    private static func walk(_ store: some ClipStore) async throws {
        for number in 0..<25 { try await register(uid(number), .queued, on: store) }
        var seen: [ClipUID] = []
        var before: Int64?
        let script = script(at: 1)
        while true {
            let cursor = before
            let page = try await store.read { try $0.clips(status: .queued, before: cursor, limit: 10) }
            guard let last = page.last else { break }
            seen += page.map(\.uid)
            before = last.changeSeq
            // Clips that change while we walk go to the front of a new walk and must not push others out of this one.
            _ = try await store.write {
                try script.submit(Signal(uid: uid(24), source: .operator, status: .queued), in: $0)
            }
        }
        #expect(seen.count == Set(seen).count)
        #expect(Set(seen) == Set((0..<25).map(uid)))
        #expect(try await store.read { try $0.clips(changedAfter: 0, limit: 100).count } == 25)
    }

    private static func earlierDecisions(_ store: some ClipStore) async throws {
        let (uid, script) = (uid(81), script(at: 1))
        _ = try await store.record(delivery(uid, .queued, body: "earlier"))
        let decisions = try await store.write {
            try script.submit(Signal(uid: uid, source: .operator, status: .processing), in: $0)
        }
        #expect(decisions.all.map(\.to) == [.queued, .processing])
        #expect(decisions.entry.to == .processing)
        // A delivery that is fed through again goes behind those that wait, too.
        _ = try await store.record(delivery(uid, .streamReady, body: "waits"))
        let again = Signal(uid: uid, source: .webhook, status: .queued)
        try await store.write { try LedgerScript.replay(again, delivery: 1, at: script.now, in: $0) }
        let replayed = try await store.write { try script.applyPending(limit: 10, in: $0) }
        #expect(replayed.map(\.signal.request) == [.status(.streamReady), .status(.queued)])
        #expect(replayed.map(\.outcome) == [.applied, .rejected])
    }

    private static func trace(_ store: some ClipStore) async throws {
        let (uid, script, first, second) = (uid(80), script(at: 1), TraceID.random(), TraceID.random())
        var delivery = delivery(uid, .queued, body: "trace")
        delivery.signal?.trace = first
        _ = try await store.record(delivery)
        let decided = try await store.write { try script.applyPending(limit: 10, in: $0) }
        #expect(decided.map(\.signal.trace) == [first])
        let later = self.script(at: 100)
        let claimed = try await store.write {
            try later.claim([.checkVideo], owner: "a", lease: .seconds(15), limit: 1, in: $0)
        }
        #expect(claimed.map(\.work.trace) == [first])
        let outcome = try await store.write {
            try later.finish(claimed[0], .observed(Observation(status: .streamReady)), in: $0)
        }
        #expect(outcome.decisions?.entry.signal.trace == first)
        _ = try await store.write {
            try later.submit(
                Signal(uid: uid, source: .operator, request: .status(.waitForMP4), trace: second), in: $0)
        }
        let (history, work) = try await store.read { (try $0.history(of: uid), try $0.work(of: uid)) }
        #expect(history.map(\.signal.trace) == [first, first, second])
        #expect(work?.trace == second)
    }

    // MARK: Copies

    private static func copy(_ store: some ClipStore) async throws {
        let source = MemoryClipStore()
        for number in 0..<5 {
            try await register(uid(number), .mp4Downloading, details: ["mine": .integer(Int64(number))], on: source)
            _ = try await source.record(delivery(uid(number), .complete, body: "body \(number)"))
        }
        let record = TransferRecord(
            sourceURL: "https://host/a.mp4", spoolPath: "/spool/a", spoolHost: "host", objectKey: "a.mp4",
            parts: [TransferPart(number: 1, size: 5, sha256: "aa")])
        try await source.write { $0.putTransfer(record, of: uid(1)) }
        _ = try await claim(on: source)
        let script = LedgerScript(policy: LifecyclePolicy(), now: start + .seconds(6), notifyTargets: ["a"])
        _ = try await source.write { try script.applyPending(limit: 2, in: $0) }

        // In pages, and once more after it was broken off and the source has gone on.
        _ = try await StoreCopy.run(from: source, to: store, by: script, page: 2)
        _ = try await source.write { try script.applyPending(limit: 1, in: $0) }
        let again = try await StoreCopy.run(from: source, to: store, by: script, page: 2)
        let (told, copied) = try await (
            source.read { $0.messages(after: 0, limit: 9) }, store.read { try $0.messages(after: 0, limit: 9) }
        )
        #expect(told.count == 3 && copied.map(\.body) == told.map(\.body))
        #expect(copied.map(\.source) == told.map(\.source))
        #expect(again.deliveries == 0 && again.clips == 5)

        for number in 0..<5 {
            let (here, there) = try await (
                source.read { $0.clip(uid(number)) }, store.read { try $0.clip(uid(number)) }
            )
            var expected = try #require(here)
            expected.work?.lease = nil
            #expect(there == expected)
            let histories = try await (
                source.read { $0.history(of: uid(number)) }, store.read { try $0.history(of: uid(number)) }
            )
            #expect(histories.0 == histories.1)
        }
        #expect(try await store.read { try $0.transfer(of: uid(1)) } == record)
        #expect(try await store.read { try $0.counters() } == source.read { $0.counters() })
        #expect(try await store.record(delivery(uid(1), .complete, body: "body 1")) == .duplicate(of: "2"))
        #expect(try await LedgerVerification.run(on: store).differences == [])

        // The copy has a life of its own: new numbers go on, and it is not written over.
        _ = try await store.record(delivery(uid(9), .queued, body: "new"))
        #expect(try await store.read { try $0.deliveries(uid: nil, before: nil, limit: 1).first?.id ?? 0 } > 5)
        let error = await #expect(throws: StoreError.self) {
            try await StoreCopy.run(from: source, to: store, by: script)
        }
        #expect(error?.code == .inUse)
    }

    // MARK: Work

    private static func onlyOneClaimWins(_ store: some ClipStore) async throws {
        try await register(uid(1), on: store)
        let claims = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<16 { group.addTask { try await claim(owner: "owner \(number)", on: store).count } }
            return try await group.reduce(0, +)
        }
        #expect(claims == 1)
    }

    private static func staleEpoch(_ store: some ClipStore) async throws {
        let uid = uid(1)
        try await register(uid, on: store)
        let first = try #require(try await claim(on: store).first)
        let rescuer = script(at: 30)
        #expect(try await store.write { try rescuer.rescue(limit: 10, in: $0) } == [])
        let second = try #require(try await claim(owner: "two", at: 30, on: store).first)
        #expect(second.epoch > first.epoch)
        let late = try await store.write {
            try rescuer.finish(first, .observed(Observation(status: .streamReady)), in: $0).isCurrent
        }
        #expect(!late)
        let report = try await store.write {
            try rescuer.report(Observation(status: .streamReady), for: first, in: $0).isCurrent
        }
        #expect(!report)
        #expect(try await store.read { try $0.clip(uid)?.status } == .uploading)
        let current = try await store.write {
            try rescuer.finish(second, .observed(Observation(status: .streamReady)), in: $0)
        }
        #expect(current.isCurrent)
        #expect(current.decisions?.entry.outcome == .applied)
    }

    private static func expiredLease(_ store: some ClipStore) async throws {
        try await register(uid(1), on: store)
        let epochs = Set(try await claim(on: store).map(\.epoch))
        let renewed = script(at: 10)
        try await store.write { try renewed.renew(owner: "one", lease: .seconds(15), epochs: epochs, in: $0) }
        try await store.write { try renewed.renew(owner: "two", lease: .seconds(60), epochs: epochs, in: $0) }
        try await store.write { try renewed.renew(owner: "one", lease: .seconds(60), epochs: [], in: $0) }
        let early = script(at: 24)
        _ = try await store.write { try early.rescue(limit: 10, in: $0) }
        #expect(try await claim(owner: "two", at: 24, on: store) == [])
        let late = script(at: 25)
        _ = try await store.write { try late.rescue(limit: 10, in: $0) }
        #expect(try await claim(owner: "two", at: 25, on: store).map(\.work.crashes) == [1])
    }

    private static func quarantine(_ store: some ClipStore) async throws {
        try await register(uid(1), .mp4Downloading, on: store)
        var entries: [LedgerEntry] = []
        for round in 1...3 {
            #expect(try await claim(at: Int64(round * 100), on: store).count == 1)
            let later = script(at: Int64(round * 100 + 20))
            entries += try await store.write { try later.rescue(limit: 10, in: $0) }
        }
        #expect(entries.map(\.to) == [.error])
        let clip = try await store.read { try $0.clip(uid(1)) }
        #expect(clip?.details[.errorCode] == "quarantined")
        #expect(clip?.work == nil)
    }

    private static func workFollowsTheStatus(_ store: some ClipStore) async throws {
        let uid = uid(1)
        let script = script()
        for (status, action) in [
            (ClipStatus.uploading, Action.checkVideo), (.queued, .checkVideo), (.streamReady, .requestMP4),
            (.waitForMP4, .checkMP4), (.mp4Processing, .checkMP4), (.mp4Downloading, .transfer),
            (.r2Uploading, .transfer),
        ] {
            _ = try await store.write {
                try script.submit(Signal(uid: uid, source: .pipeline, status: status), registers: true, in: $0)
            }
            #expect(try await store.read { try $0.work(of: uid)?.action } == action)
        }
        _ = try await store.write { try script.submit(Signal(uid: uid, source: .pipeline, status: .complete), in: $0) }
        #expect(try await store.read { try $0.work(of: uid) } == nil)
        #expect(try await store.read { try $0.nextDue(Action.allCases) } == nil)
    }

    private static func retry(_ store: some ClipStore) async throws {
        let uid = uid(1)
        try await register(uid, .waitForMP4, on: store)
        let script = script(at: 1)
        _ = try await store.write {
            try script.submit(
                Signal(uid: uid, source: .pipeline, status: .error, details: ["error_code": "x"]), in: $0)
        }
        let failed = try await store.read { try $0.clip(uid) }
        #expect(failed?.failedFrom == .waitForMP4)
        #expect(failed?.details[.failedFrom] == "waitformp4")
        #expect(failed?.progress == 70)
        let decisions = try await store.write {
            try script.submit(Signal(uid: uid, source: .operator, request: .retry), in: $0)
        }
        #expect(decisions.entry.requestedStatus == "waitformp4")
        let clip = try await store.read { try $0.clip(uid) }
        #expect(clip?.status == .waitForMP4)
        #expect(clip?.details[.errorCode] == nil)
        #expect(clip?.failedFrom == nil)
        #expect(clip?.work?.action == .checkMP4)
    }

    private static func failedTransaction(_ store: some ClipStore) async throws {
        let script = script()
        await #expect(throws: Stop.self) {
            try await store.write { transaction in
                _ = try script.submit(
                    Signal(uid: uid(1), source: .operator, status: .queued), registers: true, in: transaction)
                throw Stop()
            }
        }
        #expect(try await store.read { try $0.clip(uid(1)) } == nil)
        #expect(try await store.read { try $0.history(of: uid(1)) } == [])
        #expect(try await store.read { try $0.lastChangeSeq() } == 0)
    }

    private static func refold(_ store: some ClipStore) async throws {
        let script = script()
        for number in 0..<30 {
            for (step, status) in [ClipStatus.queued, .streamReady, .processing, .error, .complete].enumerated() {
                _ = try await store.record(
                    delivery(uid(number), status, body: "clip \(number) step \(step)"))
            }
        }
        _ = try await store.write { try script.applyPending(limit: 1_000, in: $0) }
        _ = try await store.write {
            try script.submit(Signal(uid: uid(3), source: .operator, request: .retry), in: $0)
        }
        let result = try await LedgerVerification.run(on: store, page: 7)
        #expect(result.differences == [])
        #expect(result.clips == 30)
        #expect(result.entries == 151)
        let moved = ClipStateMachine(position: .at(.complete), progress: 100)
        _ = try await store.write {
            try $0.updateClip(uid(5), from: .error, machine: moved, patch: [:], at: start)
        }
        let tampered = try await LedgerVerification.run(on: store)
        #expect(tampered.differences.map(\.uid) == [uid(5).rawValue])
    }

    // MARK: The rest

    private static func transferIsKept(_ store: some ClipStore) async throws {
        var record = TransferRecord(
            sourceURL: "https://example.com/a.mp4", sourceETag: "\"e\"", size: 1 << 40, spoolPath: "/s/a",
            spoolHost: "h",
            objectKey: "videos/a.mp4")
        let first = record
        try await store.write { try $0.putTransfer(first, of: uid(1)) }
        #expect(try await store.read { try $0.transfer(of: uid(1)) } == first)
        record.uploadID = "u"
        record.partBytes = 5 << 20
        record.isFetched = true
        let second = record
        try await store.write { try $0.putTransfer(second, of: uid(1)) }
        #expect(try await store.read { try $0.transfers() } == [uid(1): second])
        try await store.write { try $0.removeTransfer(of: uid(1)) }
        #expect(try await store.read { try $0.transfer(of: uid(1)) } == nil)
    }

    private static func counts(_ store: some ClipStore) async throws {
        try await register(uid(1), .queued, on: store)
        try await register(uid(2), .queued, on: store)
        try await register(uid(3), .complete, on: store)
        #expect(try await store.read { try $0.clipCounts() } == [.queued: 2, .complete: 1])
    }

    private static func longestInStage(_ store: some ClipStore) async throws {
        #expect(try await store.read { try $0.longestInStage() } == [:])
        let arrivals: [(Int, ClipStatus, Int64)] = [
            (1, .queued, 30), (2, .queued, 10), (3, .queued, 0), (3, .processing, 40), (4, .r2Uploading, 5),
            (5, .mp4Downloading, 0), (5, .complete, 20),
        ]
        for (number, status, seconds) in arrivals {
            let script = script(at: seconds)
            _ = try await store.write {
                try script.submit(
                    Signal(uid: uid(number), source: .operator, status: status), registers: true, in: $0)
            }
        }
        let entered = try await store.read { try $0.longestInStage() }
        #expect(
            entered.mapValues(\.seconds) == [
                .queued: start.seconds + 10, .processing: start.seconds, .r2Uploading: start.seconds + 5,
            ])
    }

    private static func activity(_ store: some ClipStore) async throws {
        let now = Timestamp(seconds: start.seconds + 400)
        #expect(try await store.read { try $0.activity(at: now) } == StoreActivity())
        for (number, seconds) in [(1, 99), (2, 100), (3, 340), (4, 341)] {
            _ = try await store.record(delivery(uid(1), .uploading, body: "\(number)", at: Int64(seconds)))
        }
        try await register(uid(2), .mp4Downloading, on: store)
        let later = script(at: 5)
        _ = try await store.write {
            try later.submit(Signal(uid: uid(3), source: .operator, status: .queued), registers: true, in: $0)
        }
        _ = try await claim([.transfer], on: store)
        let activity = try await store.read { try $0.activity(at: now) }
        #expect(activity.deliveriesLastMinute == 2 && activity.deliveriesLastFiveMinutes == 3)
        #expect(activity.lastDeliveryAt == Timestamp(seconds: start.seconds + 341))
        #expect(activity.runningTransfers == 1)
        #expect(activity.longestWork?.uid == uid(2) && activity.longestWork?.stageEnteredAt == start)
    }

    private static func statusTimes(_ store: some ClipStore) async throws {
        try await register(uid(1), .queued, on: store)
        try await register(uid(2), .queued, on: store)
        for (seconds, status) in [(10, ClipStatus.processing), (20, .processing), (30, .queued)] {
            let script = script(at: Int64(seconds))
            _ = try await store.write {
                try script.submit(Signal(uid: uid(1), source: .operator, status: status), registers: false, in: $0)
            }
        }
        let times = try await store.read { try $0.statusTimes(of: [uid(1), uid(2), uid(3)]) }
        #expect(times == [uid(1): Timestamp(seconds: start.seconds + 10), uid(2): start])
        #expect(try await store.read { try $0.statusTimes(of: []) }.isEmpty)
    }
}
