// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import Dispatch
import NIOConcurrencyHelpers
import Testing

@testable import SQLiteClipStore

@Suite("Turns of the one writer")
struct WriterTurnsTests {
    @Test("Only one writes at a time, and everybody comes to it")
    func exclusive() async {
        let turns = WriterTurns()
        let (inside, done) = (NIOLockedValueBox(0), NIOLockedValueBox(0))
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask {
                    await turns.write {
                        #expect(
                            inside.withLockedValue {
                                $0 += 1; return $0
                            } == 1)
                        if number.isMultiple(of: 10) { await Task.yield() }
                        inside.withLockedValue { $0 -= 1 }
                        done.withLockedValue { $0 += 1 }
                    }
                }
            }
        }
        #expect(done.withLockedValue { $0 } == 200)
    }

    @Test("One that throws gives its turn on")
    func throwing() async throws {
        struct Failure: Error {}
        let turns = WriterTurns()
        #expect(throws: Failure.self) {
            try turns.write(deliveries: { $0 }) { () -> Int in throw Failure() }
        }
        await #expect(throws: Failure.self) {
            try await turns.write { () -> Int in throw Failure() }
        }
        #expect(await turns.write { 7 } == 7)
    }

    @Test("Deliveries that wait go before others that waited longer")
    func deliveriesFirst() async {
        let turns = WriterTurns()
        let order = NIOLockedValueBox<[String]>([])
        let (begun, mayEnd) = (Gate(), Gate())
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await turns.write {
                    begun.open()
                    await mayEnd.wait()
                }
            }
            await begun.wait()
            group.addTask {
                await turns.write {
                    order.withLockedValue { $0.append("other") }
                }
            }
            await eventually { turns.othersWaiting == 1 }
            group.addTask {
                await onThread {
                    turns.write(deliveries: { 1 }) { order.withLockedValue { $0.append("deliveries") } }
                }
            }
            await eventually { turns.haveDeliveriesWaiting }
            mayEnd.open()
        }
        #expect(order.withLockedValue { $0 } == ["deliveries", "other"])
    }

    @Test("While many deliveries come, others have a share of the time, and are not starved")
    func share() async {
        let time = NIOLockedValueBox(ContinuousClock.now)
        @Sendable func pass(_ milliseconds: Int) { time.withLockedValue { $0 += .milliseconds(milliseconds) } }
        let timer = Gate()
        let turns = WriterTurns(now: { time.withLockedValue { $0 } }, sleep: { _ in await timer.wait() })
        @Sendable func writeDeliveries() async { await onThread { turns.write(deliveries: { 100 }) { pass(2) } } }
        await writeDeliveries()
        // It has not written yet, so that it need not rest.
        await turns.write { pass(10) }
        await writeDeliveries()
        let isDone = NIOLockedValueBox(false)
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await turns.write { pass(10) }
                isDone.withLockedValue { $0 = true }
            }
            await eventually { turns.othersWaiting == 1 }
            // It is to rest for 90 ms, of which 2 are over.
            for _ in 0..<43 { await writeDeliveries() }
            #expect(!isDone.withLockedValue { $0 })
            pass(2)
            await writeDeliveries()
            await eventually { isDone.withLockedValue { $0 } }
            timer.open()
        }
    }

    @Test("Others rest for half a second at most, however long one of them has written")
    func restIsBounded() async {
        let time = NIOLockedValueBox(ContinuousClock.now)
        @Sendable func pass(_ milliseconds: Int) { time.withLockedValue { $0 += .milliseconds(milliseconds) } }
        let timer = Gate()
        let turns = WriterTurns(now: { time.withLockedValue { $0 } }, sleep: { _ in await timer.wait() })
        @Sendable func writeDeliveries() async { await onThread { turns.write(deliveries: { 100 }) { pass(1) } } }
        await turns.write { pass(2_000) }
        await writeDeliveries()
        let isDone = NIOLockedValueBox(false)
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await turns.write {}
                isDone.withLockedValue { $0 = true }
            }
            await eventually { turns.othersWaiting == 1 }
            for _ in 0..<498 { await writeDeliveries() }
            #expect(!isDone.withLockedValue { $0 })
            await writeDeliveries()
            await writeDeliveries()
            await eventually { isDone.withLockedValue { $0 } }
            timer.open()
        }
    }

    @Test("When deliveries have stopped coming, others wait for nothing but their turn")
    func quiet() async {
        let time = NIOLockedValueBox(ContinuousClock.now)
        let timer = Gate()
        let turns = WriterTurns(now: { time.withLockedValue { $0 } }, sleep: { _ in await timer.wait() })
        await turns.write {
            time.withLockedValue { $0 += .seconds(1) }
        }
        await onThread { turns.write(deliveries: { 100 }) {} }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await turns.write {} }
            await eventually { turns.othersWaiting == 1 }
            time.withLockedValue { $0 += .milliseconds(10) }
            timer.open()
        }
        #expect(turns.othersWaiting == 0)
    }
}

/// Runs what keeps its thread.
private func onThread(_ body: @escaping @Sendable () -> Void) async {
    await withCheckedContinuation { continuation in
        DispatchQueue(label: "test").async {
            body()
            continuation.resume()
        }
    }
}
