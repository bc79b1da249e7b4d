// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Logging
import Monitor
import NIOConcurrencyHelpers
import Testing

@Suite(.timeLimit(.minutes(2))) struct MonitorTests {
    // MARK: Deciding

    @Test func storedDeliveryIsDecidedAtOnce() async throws {
        let world = World(MemoryClipStore())
        try await world.run {
            await world.settle()
            let before = world.clock.now()
            try await world.deliver(uid(1), .queued, body: "a")
            try await eventually { try await world.status(uid(1)) == .queued }
            #expect(world.clock.now() == before)
        }
    }

    @Test func deliveriesOfABusyMomentAreDecidedInLedgerOrder() async throws {
        let world = World(MemoryClipStore())
        for (index, status) in [ClipStatus.processing, .queued, .streamReady].enumerated() {
            for number in 0..<300 { try await world.deliver(uid(number), status, body: "\(number) \(index)") }
        }
        try await world.run {
            try await eventually { try await world.store.read { $0.pendingEntries(limit: 1).isEmpty } }
        }
        for number in 0..<300 {
            let outcomes = try await world.history(uid(number)).prefix(3).map(\.outcome)
            #expect(outcomes == [.applied, .rejected, .applied])
        }
    }

    @Test func submittedSignalIsDecidedWhenItReturns() async throws {
        let world = World(MemoryClipStore())
        let unknown = try await world.monitor.submit(Signal(uid: uid(1), source: .operator, status: .queued))
        #expect(unknown.reason == .unknownClip)
        let entry = try await world.monitor.register(Signal(uid: uid(1), source: .operator, status: .queued))
        #expect(entry.outcome == .applied)
        #expect(try await world.status(uid(1)) == .queued)
    }

    // MARK: Work

    @Test func clipGoesAllTheWayWithoutAWebhook() async throws {
        let checks = NIOLockedValueBox(0)
        let world = World(MemoryClipStore()) { request, reporter in
            switch request.action {
            case .checkVideo:
                let way: [ClipStatus] = [.uploading, .queued, .processing, .processing, .streamReady]
                let count = checks.withLockedValue { count in
                    defer { count += 1 }
                    return count
                }
                return .observed(Observation(status: way[min(count, 4)], percent: Double(count)))
            case .requestMP4: return .observed(Observation(status: .waitForMP4))
            case .checkMP4:
                return .observed(Observation(status: request.status == .waitForMP4 ? .mp4Processing : .mp4Downloading))
            case .transfer: return await reporter.transferDone(request)
            }
        }
        try await world.register(uid(1))
        try await world.run {
            try await world.passTime { try await world.status(uid(1)) == .complete }
        }
        #expect(
            try await world.statuses(uid(1)) == [
                .uploading, .queued, .processing, .streamReady, .waitForMP4, .mp4Processing, .mp4Downloading,
                .r2Uploading, .complete,
            ])
        #expect(try await world.clip(uid(1))?.progress == 100)
        #expect(try await world.work(uid(1)) == nil)
        #expect(try await LedgerVerification.run(on: world.store).differences == [])
    }

    @Test func videoChecksAreBundledByAHundred() async throws {
        let world = World(MemoryClipStore())
        for number in 0..<250 { try await world.register(uid(number), .queued) }
        try await world.run {
            await world.pass(.seconds(4))
            #expect(world.performer.calls(.checkVideo).prefix(3).map(\.count) == [100, 100, 50])
        }
    }

    @Test func checksWhoseTurnsLieCloseTogetherShareOneCall() async throws {
        let world = World(MemoryClipStore())
        for number in 0..<10 {
            try await world.register(uid(number), .queued)
            world.clock.advance(by: .milliseconds(40))
        }
        try await world.run {
            await world.pass(.seconds(120))
        }
        let calls = world.performer.calls(.checkVideo)
        #expect(calls.allSatisfy { $0.count == 10 })
        #expect(calls.count < 20)
    }

    @Test func noMoreTransfersRunThanAreAllowed() async throws {
        let gate = Gate()
        let world = World(MemoryClipStore(), transfersMax: 4) { request, reporter in
            await gate.wait()
            return await reporter.transferDone(request)
        }
        for number in 0..<10 { try await world.register(uid(number), .mp4Downloading) }
        try await world.run {
            await eventually { world.performer.running(.transfer) == 4 }
            await world.pass(.seconds(3))
            #expect(world.performer.calls(.transfer).count == 4)
            gate.open()
            try await eventually { try await world.store.read { $0.clipCounts() } == [.complete: 10] }
        }
        #expect(world.performer.runningMax(.transfer) == 4)
    }

    @Test func longTransfersDoNotKeepShortCallsWaiting() async throws {
        let gate = Gate()
        let world = World(MemoryClipStore(), transfersMax: 1) { request, _ in
            if request.action == .transfer { await gate.wait() }
            return .observed(Observation(status: request.status))
        }
        try await world.register(uid(1), .mp4Downloading)
        try await world.run {
            await eventually { world.performer.running(.transfer) == 1 }
            try await world.deliver(uid(2), .queued, body: "a")
            await eventually { world.performer.calls(.checkVideo).count == 1 }
        }
    }

    @Test func idleMonitorMakesNoCallsAndWritesNothing() async throws {
        let world = World(MemoryClipStore())
        for status in [ClipStatus.complete, .error] { try await world.register(uid(status.order), status) }
        let before = try await world.store.read { $0.lastChangeSeq() }
        try await world.run { await world.pass(.seconds(600), step: .seconds(5)) }
        #expect(world.performer.calls.isEmpty)
        #expect(try await world.store.read { $0.lastChangeSeq() } == before)
    }

    @Test func passingFailureIsTriedAgainAndThePermanentOneStopsTheClip() async throws {
        let world = World(MemoryClipStore()) { request, _ in
            request.work.attempt == 0
                ? .failed(ActionFailure(code: "r2_503", message: "R2 answered 503", isRetryable: true))
                : .failed(ActionFailure(code: "r2_bucket", message: "there is no bucket \"x\"", isRetryable: false))
        }
        try await world.register(uid(1), .r2Uploading)
        try await world.run {
            try await eventually { try await world.clip(uid(1))?.details[.attempt] == 1 }
            #expect(try await world.status(uid(1)) == .r2Uploading)
            try await world.passTime { try await world.status(uid(1)) == .error }
        }
        let clip = try await world.clip(uid(1))
        #expect(clip?.details[.errorMessage] == "there is no bucket \"x\"")
        #expect(clip?.details[.failedFrom] == "r2_uploading")
        #expect(clip?.details[.attempt] == nil)
        #expect(clip?.work == nil)
    }

    @Test func retryGoesOnWhereTheClipFailed() async throws {
        let isMended = NIOLockedValueBox(false)
        let world = World(MemoryClipStore()) { request, reporter in
            if isMended.withLockedValue({ $0 }) { return await reporter.transferDone(request) }
            return .failed(ActionFailure(code: "r2_bucket", message: "there is no bucket", isRetryable: false))
        }
        try await world.register(uid(1), .r2Uploading)
        try await world.run {
            try await eventually { try await world.status(uid(1)) == .error }
            isMended.withLockedValue { $0 = true }
            let entry = try await world.monitor.submit(Signal(uid: uid(1), source: .operator, request: .retry))
            #expect(entry.to == .r2Uploading)
            try await eventually { try await world.status(uid(1)) == .complete }
        }
        #expect(try await world.clip(uid(1))?.details[.errorMessage] == nil)
    }

    @Test func requestWithoutAnOutcomeIsTriedAgain() async throws {
        let world = World(MemoryClipStore()) { _, _ in nil }
        try await world.register(uid(1), .queued)
        try await world.run {
            try await world.passTime { try await world.clip(uid(1))?.details[.attempt] == 3 }
        }
        #expect(try await world.clip(uid(1))?.details[.errorCode] == "no_outcome")
    }

    @Test func outcomeIsStoredWhenTheStoreIsBack() async throws {
        let gate = Gate()
        let world = World(FlakyStore()) { _, _ in
            await gate.wait()
            return .observed(Observation(status: .streamReady))
        }
        try await world.register(uid(1), .processing)
        try await world.run {
            await eventually { world.performer.running(.checkVideo) == 1 }
            await world.settle()
            world.store.failNextWrites(3)
            gate.open()
            try await world.passTime { try await world.statuses(uid(1)).contains(.streamReady) }
        }
        #expect(try await world.history(uid(1)).filter { $0.to == .streamReady && $0.outcome == .applied }.count == 1)
    }

    @Test func clipWhoseRowWasMovedBySomebodyElseGetsTheActionOfItsStatus() async throws {
        let world = World(MemoryClipStore())
        try await world.register(uid(1), .queued)
        world.store.insertForeignRow(uid: uid(1).rawValue, status: "waitformp4")
        try await world.run {
            await eventually { !world.performer.calls(.checkMP4).isEmpty }
        }
        #expect(world.performer.calls(.checkVideo).isEmpty)
    }

    @Test func deletedRowsWorkIsForgotten() async throws {
        let world = World(MemoryClipStore())
        try await world.register(uid(1), .queued)
        world.store.insertForeignRow(uid: uid(1).rawValue, status: "archived")
        try await world.run {
            try await eventually { try await world.work(uid(1)) == nil }
        }
        #expect(world.performer.calls.isEmpty)
    }

    // MARK: Other programs

    @Test func requestedStatusIsLiftedIntoTheLedger() async throws {
        let world = World(MemoryClipStore())
        let details: Details = ["requested_status": "error", "status_request_time": "now", "mine": 1]
        world.store.insertForeignRow(uid: uid(1).rawValue, status: "queued", details: details)
        world.store.insertForeignRow(uid: uid(2).rawValue, status: "queued", details: ["requested_status": "banana"])
        world.store.insertForeignRow(uid: uid(3).rawValue, status: "queued", details: ["requested_status": 7])
        try await world.run {
            try await eventually { try await world.status(uid(1)) == .error }
            try await eventually { try await world.history(uid(2)).count == 2 }
        }
        let clip = try await world.clip(uid(1))
        #expect(clip?.details["requested_status"] == nil)
        #expect(clip?.details["status_request_time"] == nil)
        #expect(clip?.details["mine"] == 1)
        let history = try await world.history(uid(1))
        #expect(history.map(\.signal.source) == [.external, .external])
        #expect(history.map(\.to) == [.queued, .error])
        #expect(try await world.history(uid(2)).last?.reason == .unknownStatus)
        #expect(try await world.clip(uid(3))?.details["requested_status"] == nil)
        #expect(try await LedgerVerification.run(on: world.store).differences == [])
    }

    @Test func rowsOfOtherProgramsAreAdoptedAndForeignOnesLeftAlone() async throws {
        let world = World(MemoryClipStore())
        world.store.insertForeignRow(uid: uid(1).rawValue, status: "queued")
        world.store.insertForeignRow(uid: uid(2).rawValue, status: nil)
        world.store.insertForeignRow(uid: uid(3).rawValue, status: "archived")
        world.store.insertForeignRow(uid: "not a uid", status: "queued")
        try await world.run {
            await eventually { world.performer.calls(.checkVideo).count == 1 }
            world.store.insertForeignRow(uid: uid(4).rawValue, status: "mp4_processing")
            await world.pass(.seconds(15))
            try await eventually { try await world.clip(uid(4))?.isMet == true }
        }
        #expect(try await world.clip(uid(2))?.isMet == false)
        #expect(try await world.clip(uid(3))?.statusWord == "archived")
        #expect(try await world.store.read { $0.foreignRowCount() } == 3)
    }

    @Test func rowIsTakenIntoTheLedgerBeforeTheDeliveryThatSpeaksOfIt() async throws {
        let world = World(MemoryClipStore())
        world.store.insertForeignRow(uid: uid(1).rawValue, status: "queued")
        try await world.deliver(uid(1), .processing, body: "a")
        try await world.deliver(uid(1), .streamReady, body: "b")
        try await world.run {
            try await eventually { try await world.statuses(uid(1)).contains(.streamReady) }
        }
        #expect(try await world.statuses(uid(1)).prefix(3) == [.queued, .processing, .streamReady])
        #expect(try await LedgerVerification.run(on: world.store).differences == [])
    }

    @Test func foreignWriteIsNotForgottenWhenTheStoreFails() async throws {
        let world = World(FlakyStore())
        try await world.run {
            await world.settle()
            world.store.memory.insertForeignRow(uid: uid(1).rawValue, status: "queued")
            world.store.failNextWrites(1)
            world.store.tellOfForeignWrite()
            await world.pass(.seconds(10))
            try await eventually { try await world.clip(uid(1))?.isMet == true }
        }
    }

    @Test func oldDeliveriesArePurgedAndTheLedgerKept() async throws {
        let world = World(MemoryClipStore())
        for number in 0..<3 { try await world.deliver(uid(number), .complete, body: "\(number)") }
        try await world.run {
            try await eventually { try await world.status(uid(2)) == .complete }
            await world.pass(.seconds(30 * 86_400 - 7_200), step: .seconds(3_600))
            #expect(try await world.store.read { $0.deliveries(uid: nil, before: nil, limit: 10).count } == 3)
            await world.pass(.seconds(14_400), step: .seconds(3_600))
            try await eventually {
                try await world.store.read { $0.deliveries(uid: nil, before: nil, limit: 10).isEmpty }
            }
        }
        #expect(try await world.history(uid(1)).count == 1)
    }
}
