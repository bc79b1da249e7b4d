// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import NIOConcurrencyHelpers
import SQLiteClipStore
import ServiceLifecycle
import Testing

@testable import Monitor

@Suite(.timeLimit(.minutes(2))) struct LeaseTests {
    @Test func runningActionKeepsItsLease() async throws {
        let gate = Gate()
        let world = World(MemoryClipStore()) { request, reporter in
            await gate.wait()
            return await reporter.transferDone(request)
        }
        try await world.register(uid(1), .mp4Downloading)
        try await world.run {
            await eventually { world.performer.running(.transfer) == 1 }
            await world.pass(.seconds(120))
            let work = try #require(try await world.work(uid(1)))
            #expect(try #require(work.lease).until > world.clock.now())
            #expect(work.crashes == 0)
            gate.open()
            try await eventually { try await world.status(uid(1)) == .complete }
        }
        #expect(world.performer.calls(.transfer).count == 1)
    }

    /// A suspended process wakes up with leases that ran out; as long as nobody took them over, they are its own.
    @Test func processThatStoodStillGoesOnWithItsLeases() async throws {
        let gate = Gate()
        let world = World(MemoryClipStore()) { request, reporter in
            await gate.wait()
            return await reporter.transferDone(request)
        }
        try await world.register(uid(1), .mp4Downloading)
        try await world.run {
            await eventually { world.performer.running(.transfer) == 1 }
            await world.settle()
            world.clock.advance(by: .seconds(300))
            await world.pass(.seconds(10))
            gate.open()
            try await eventually { try await world.status(uid(1)) == .complete }
        }
        #expect(world.performer.calls(.transfer).count == 1)
    }

    /// While the store is away nobody can prolong a lease, and when it is back everybody may before anybody is rescued.
    @Test(arguments: [38, 39, 40, 41, 42]) func outageTakesNobodysWork(seconds: Int) async throws {
        let gate = Gate()
        let world = World(FlakyStore()) { request, reporter in
            await gate.wait()
            return await reporter.transferDone(request)
        }
        try await world.register(uid(1), .mp4Downloading)
        try await world.run {
            await eventually { world.performer.running(.transfer) == 1 }
            await world.settle()
            world.store.setAway(true)
            await world.pass(.seconds(seconds))
            world.store.setAway(false)
            await world.pass(.seconds(20))
            #expect(try await world.work(uid(1))?.crashes == 0)
            gate.open()
            try await eventually { try await world.status(uid(1)) == .complete }
        }
        #expect(world.performer.calls(.transfer).count == 1)
    }

    @Test func outcomeUnderALostLeaseChangesNothing() async throws {
        let gate = Gate()
        let reports = NIOLockedValueBox<[Bool]>([])
        let world = World(MemoryClipStore()) { request, reporter in
            await gate.wait()
            let isCurrent = (try? await reporter.report(Observation(status: .r2Uploading), for: request)) ?? true
            let record = TransferRecord(sourceURL: "", spoolPath: "", spoolHost: "", objectKey: "")
            let isSaved = (try? await reporter.save(record, for: request)) ?? true
            let isForgotten = (try? await reporter.save(nil, for: request)) ?? true
            reports.withLockedValue { $0 += [isCurrent, isSaved, isForgotten] }
            return .observed(Observation(status: .complete))
        }
        try await world.register(uid(1), .mp4Downloading)
        try await world.run {
            await eventually { world.performer.running(.transfer) == 1 }
            let script = world.script()
            let taken = try await world.store.write { store in
                try script.voidLeases(exceptOf: "two", in: store)
                _ = try script.rescue(limit: 10, in: store)
                store.putTransfer(
                    TransferRecord(sourceURL: "", spoolPath: "", spoolHost: "two", objectKey: ""), of: uid(1))
                return try script.claim([.transfer], owner: "two", lease: .seconds(60), limit: 1, in: store)
            }
            #expect(taken.count == 1)
            gate.open()
            await eventually { world.performer.running(.transfer) == 0 }
            await world.pass(.seconds(2))
            #expect(try await world.work(uid(1)) == taken.first?.work)
        }
        #expect(reports.withLockedValue { $0 } == [false, false, false])
        #expect(try await world.statuses(uid(1)) == [.mp4Downloading])
        #expect(try await world.store.read { $0.transfer(of: uid(1)) }?.spoolHost == "two")
    }

    @Test func workOfADeadProcessIsRescued() async throws {
        let crashes = NIOLockedValueBox<[Int]>([])
        let world = World(MemoryClipStore()) { request, reporter in
            crashes.withLockedValue { $0.append(request.work.crashes) }
            return await reporter.transferDone(request)
        }
        try await world.register(uid(1), .mp4Downloading)
        let script = world.script()
        _ = try await world.store.write {
            try script.claim([.transfer], owner: "dead", lease: .seconds(15), limit: 1, in: $0)
        }
        try await world.run {
            await world.pass(.seconds(14))
            #expect(world.performer.calls.isEmpty)
            await world.pass(.seconds(8))
            try await eventually { try await world.status(uid(1)) == .complete }
        }
        #expect(crashes.withLockedValue { $0 } == [1])
    }

    /// Its epoch is not among the running ones any more, so that whatever else runs does not keep it alive.
    @Test func leaseWhoseOutcomeCouldNotBeStoredRunsOut() async throws {
        let (check, transfer) = (Gate(), Gate())
        let world = World(FlakyStore()) { request, reporter in
            if request.action == .transfer {
                await transfer.wait()
                return await reporter.transferDone(request)
            }
            await check.wait()
            return .observed(Observation(status: .streamReady))
        }
        try await world.register(uid(1), .processing)
        try await world.register(uid(2), .mp4Downloading)
        try await world.run {
            await eventually { world.performer.running(.checkVideo) + world.performer.running(.transfer) == 2 }
            await world.settle()
            world.store.setAway(true)
            check.open()
            await eventually { world.performer.running(.checkVideo) == 0 }
            // Until the last try to store the outcome was in vain.
            try await world.passTime { world.monitor.slots.running == 1 }
            world.store.setAway(false)
            await world.pass(.seconds(30))
            try await eventually { try await world.statuses(uid(1)).contains(.streamReady) }
            #expect(world.performer.calls(.checkVideo).count == 2)
            #expect(world.performer.calls(.transfer).count == 1)
        }
    }

    @Test func clipThatKillsEveryProcessIsSetAsideAlsoWhilePutting() async throws {
        let world = World(MemoryClipStore())
        try await world.register(uid(1), .r2Uploading)
        for _ in 0..<3 {
            let script = world.script()
            let request = try #require(
                try await world.store.write {
                    try script.claim([.transfer], owner: "dead", lease: .seconds(15), limit: 1, in: $0)
                }.first)
            // The put begins anew each time; that alone is no progress.
            _ = try await world.store.write {
                try script.report(Observation(status: .r2Uploading), for: request, in: $0)
            }
            world.clock.advance(by: .seconds(20))
            let later = world.script()
            _ = try await world.store.write { try later.rescue(limit: 10, in: $0) }
            // After a second crash it stands back for a while.
            world.clock.advance(by: .seconds(20))
        }
        #expect(try await world.clip(uid(1))?.details[.errorCode] == "quarantined")
    }

    @Test func movingBytesForgiveCrashes() async throws {
        let world = World(MemoryClipStore())
        try await world.register(uid(1), .mp4Downloading)
        for _ in 0..<5 {
            let script = world.script()
            let request = try #require(
                try await world.store.write {
                    try script.claim([.transfer], owner: "dead", lease: .seconds(15), limit: 1, in: $0)
                }.first)
            let figures = Observation(status: nil, percent: 10, details: ["transfer_bytes": 10])
            _ = try await world.store.write { try script.report(figures, for: request, in: $0) }
            world.clock.advance(by: .seconds(20))
            let later = world.script()
            _ = try await world.store.write { try later.rescue(limit: 10, in: $0) }
        }
        #expect(try await world.status(uid(1)) == .mp4Downloading)
        #expect(try await world.work(uid(1))?.crashes == 1)
    }
}

@Suite(.timeLimit(.minutes(2))) struct ShutdownTests {
    @Test func runningActionsMayFinish() async throws {
        let gate = Gate()
        let world = World(MemoryClipStore()) { request, reporter in
            await gate.wait()
            return Task.isCancelled ? .abandoned : await reporter.transferDone(request)
        }
        for number in 0..<6 { try await world.register(uid(number), .mp4Downloading) }
        try await world.serve { group in
            await eventually { world.performer.running(.transfer) == 4 }
            await group.triggerGracefulShutdown()
            // The drain sleeps on the clock too.
            await world.clock.waitForSleepers(World<MemoryClipStore>.idleSleepers + 1)
            gate.open()
        }
        #expect(try await world.store.read { $0.clipCounts() } == [.complete: 4, .mp4Downloading: 2])
        #expect(world.performer.calls(.transfer).count == 4)
    }

    @Test func whatDoesNotFinishInTimeIsHandedBackWithoutAnAttempt() async throws {
        try await handsBack(MemoryClipStore())
    }

    @Test func leasesAreHandedBackToSQLiteToo() async throws {
        let folder = try Folder()
        let store = try await folder.open()
        try await handsBack(store)
        try await store.close()
    }

    private func handsBack(_ store: some ClipStore) async throws {
        let gate = Gate()
        let world = World(store) { _, _ in
            await gate.wait()
            return .abandoned
        }
        try await world.register(uid(1), .mp4Downloading)
        try await world.serve { group in
            await eventually { world.performer.running(.transfer) == 1 }
            await group.triggerGracefulShutdown()
            await world.clock.waitForSleepers(World<MemoryClipStore>.idleSleepers + 1)
            world.clock.advance(by: .seconds(15))
        }
        let work = try #require(try await world.work(uid(1)))
        #expect(work.lease == nil)
        #expect(work.attempt == 0)
        #expect(work.crashes == 0)
        #expect(work.dueAt <= world.clock.now())
        #expect(try await world.statuses(uid(1)) == [.mp4Downloading])
    }

    @Test func cancelledMonitorHandsItsLeasesBack() async throws {
        let folder = try Folder()
        let store = try await folder.open()
        let gate = Gate()
        let world = World(store) { _, _ in
            await gate.wait()
            return .abandoned
        }
        for number in 0..<3 { try await world.register(uid(number), .mp4Downloading) }
        try await world.run {
            await eventually { world.performer.running(.transfer) == 3 }
        }
        #expect(try await store.read { try $0.expiredWork(at: .forever, until: .forever, limit: 9) } == [])
        try await store.close()
    }
}

extension Timestamp {
    fileprivate static let forever = Timestamp(milliseconds: .max)
}
