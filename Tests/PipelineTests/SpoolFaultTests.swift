// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import Foundation
import NIOConcurrencyHelpers
import OutboundHTTP
import Pipeline
import Sandbox
import Testing

/// Spool files that are damaged, and disks that are full.
@Suite(.timeLimit(.minutes(2))) struct SpoolFaultTests {
    private static let part = 5 << 20
    private static let bytes = 3 * part + 7

    /// Changes one byte of the clip's spool file.
    private static func damage(_ world: TransferWorld, _ uid: ClipUID, at offset: Int) throws {
        let file = try FileHandle(forUpdating: URL(filePath: world.spool.path(of: uid)))
        defer { try? file.close() }
        try file.seek(toOffset: UInt64(offset))
        let byte = try #require(try file.read(upToCount: 1)?.first)
        try file.seek(toOffset: UInt64(offset))
        try file.write(contentsOf: Data([~byte]))
    }

    /// True the first time only.
    private final class Once: Sendable {
        private let isDone = NIOLockedValueBox(false)

        func take() -> Bool {
            isDone.withLockedValue { isDone in
                defer { isDone = true }
                return !isDone
            }
        }
    }

    // MARK: Damage

    @Test func partThatIsDamagedBeforeItsPutIsFoundAndFetchedAgain() async throws {
        let once = Once()
        try await TransferWorld.run { world, request in
            guard SentRequest(request).partNumber == 2, once.take() else { return }
            await eventually { world.spool.bytesUsed() == UInt64(Self.bytes) }
            guard case .file(let path, _, _) = request.body else { return }
            let name = URL(filePath: path).lastPathComponent.prefix { $0 != "." }
            try? Self.damage(world, ClipUID(name)!, at: Self.part + 1000)
        } _: { world in
            let transfer = try await world.ready(Self.bytes)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "r2_XAmzContentSHA256Mismatch")
            #expect(failure.isRetryable)
            try await world.expectNoObject(transfer)
            world.expectComplete(await world.performAgain(transfer))
            #expect(world.fetches.map(\.offset) == [0, UInt64(Self.part)])
            #expect(
                world.downloads(of: transfer)
                    == DownloadCount(
                        fullRequests: 1, rangeRequests: 1, bytes: UInt64(2 * Self.bytes - Self.part)))
            try await world.expectSameBytes(transfer, Self.bytes)
        }
    }

    /// What is missing at the end counts as damage, too.
    @Test(arguments: [true, false])
    func partThatIsDamagedBetweenTwoProcessesIsFoundAndFetchedAgain(_ isCutShort: Bool) async throws {
        let gate = PartGate(passing: [1])
        try await TransferWorld.run { _, request in
            await gate.admit(request)
        } _: { world in
            let transfer = try await world.ready(Self.bytes)
            await world.perform(transfer, untilStored: [1], held: Self.bytes)
            gate.open()
            let place = 2 * Self.part - 1
            if isCutShort {
                let file = try FileHandle(forUpdating: URL(filePath: world.spool.path(of: transfer.uid)))
                try file.truncate(atOffset: UInt64(place))
                try file.close()
            } else {
                try Self.damage(world, transfer.uid, at: place)
            }
            world.expectComplete(await world.performAgain(transfer))
            #expect(world.fetches.map(\.offset) == [0, UInt64(Self.part)])
            #expect(world.puts(ofPart: 1).count == 1)
            try await world.expectSameBytes(transfer, Self.bytes)
        }
    }

    /// R2 has it, so nothing of it is read or fetched again.
    @Test func damageToAPartThatR2HasCostsNothing() async throws {
        let gate = PartGate(passing: [1])
        try await TransferWorld.run { _, request in
            await gate.admit(request)
        } _: { world in
            let transfer = try await world.ready(Self.bytes)
            await world.perform(transfer, untilStored: [1], held: Self.bytes)
            gate.open()
            try Self.damage(world, transfer.uid, at: 17)
            world.expectComplete(await world.performAgain(transfer))
            #expect(world.downloads(of: transfer) == DownloadCount(fullRequests: 1, bytes: UInt64(Self.bytes)))
            try await world.expectSameBytes(transfer, Self.bytes)
        }
    }

    // MARK: Full

    @Test func fullDiskInTheMiddleIsWaitedOutAndOtherWorkGoesOn() async throws {
        let once = Once()
        try await TransferWorld.run(["route=mp4,kind=truncate,after=3MiB,count=1"]) { world, request in
            guard SentRequest(request).offset > 0, case .file(let sink) = request.sink, once.take() else { return }
            // From here on the file system takes nothing more of this file.
            try? FileManager.default.moveItem(atPath: sink.path, toPath: "\(sink.path).kept")
            try? FileManager.default.createSymbolicLink(atPath: sink.path, withDestinationPath: "/dev/full")
        } _: { world in
            let bytes = 4 << 20
            let transfer = try await world.ready(bytes)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "spool_disk_full")
            #expect(failure.isRetryable && failure.isWaiting)
            #expect(failure.message.contains("CLIPBRIDGE_SPOOL_DIR"))

            let other = try await world.ready(100_000)
            let reporter = MemoryReporter()
            #expect(await world.perform(other, reporter: reporter) == .reported)
            #expect(reporter.statuses.last == .complete)
            try await world.expectNoObject(transfer)

            let path = world.spool.path(of: transfer.uid)
            try FileManager.default.removeItem(atPath: path)
            try FileManager.default.moveItem(atPath: "\(path).kept", toPath: path)
            world.expectComplete(await world.performAgain(transfer))
            #expect(
                world.fetches.filter { $0.url.contains(transfer.uid.rawValue) }.map(\.offset)
                    == [0, 3, 3].map { $0 << 20 })
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func clipThatDoesNotFitBesideARunningOneWaitsAndASmallerOneGoesOn() async throws {
        try await TransferWorld.run(
            ["route=mp4,kind=stall,after=2MiB,count=1"], spoolBytesMax: 6 << 20
        ) { world in
            let first = try await world.ready(4 << 20)
            let second = try await world.ready(3 << 20)
            let small = try await world.ready(1 << 20)
            let running = Task { await world.perform(first) }
            await eventually { world.spool.size(of: first.uid) == 2 << 20 }

            let waiting = MemoryReporter()
            let failure = try #require(await world.perform(second, reporter: waiting).failure)
            #expect(failure.code == "spool_full")
            #expect(failure.isRetryable && failure.isWaiting)
            #expect(failure.message.contains("no room for \(3 << 20) bytes, \(2 << 20) are free"))
            #expect(await world.perform(small, reporter: MemoryReporter()) == .reported)

            running.cancel()
            #expect(await running.value == .abandoned)
            world.expectComplete(await world.perform(first))
            #expect(await world.perform(second, reporter: waiting) == .reported)
            for (clip, bytes) in [(first, 4 << 20), (second, 3 << 20), (small, 1 << 20)] {
                try await world.expectSameBytes(clip, bytes)
            }
        }
    }
}
