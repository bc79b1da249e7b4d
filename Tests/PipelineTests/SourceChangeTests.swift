// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers
import ObjectStorage
import Pipeline
import Testing

/// Sources that are not what they were, that can not be gone on from, or that another machine goes on from.
@Suite(.timeLimit(.minutes(2))) struct SourceChangeTests {
    private static let part = 5 << 20
    private static let old = MediaFile(2 * part + 7, seed: 1, etag: "\"old\"")
    private static let new = MediaFile(2 * part + 1_000_000, seed: 2, etag: "\"new\"")

    enum Change: CaseIterable {
        case otherTagHeeded, otherTagUnheeded, sameTagOtherTotal, noTagOtherTotal
    }

    /// What a host whose file has changed answers.
    private static func answer(_ change: Change, _ request: MediaHost.Request) -> MediaHost.Answer {
        var file = new
        if change == .sameTagOtherTotal { file.etag = old.etag }
        if change == .noTagOtherTotal { file.etag = nil }
        guard change != .otherTagHeeded, let offset = request.offset else { return file.answer(request) }
        return file.part(from: offset)
    }

    /// The old upload came to its end and took its parts along.
    private func expectOldUploadAborted(
        _ world: TransferWorld, sourceLocation: Testing.SourceLocation = #_sourceLocation
    ) throws {
        let uploads = world.reporter.saved.compactMap(\.uploadID)
        let first = try #require(uploads.first, sourceLocation: sourceLocation)
        #expect(Set(uploads).count == 2, sourceLocation: sourceLocation)
        #expect(
            world.sent.contains { $0.method == .delete && $0.url.contains("uploadId=\(first)") },
            sourceLocation: sourceLocation)
    }

    // MARK: In one download

    @Test(arguments: Change.allCases)
    func sourceThatChangesBetweenRangesIsFetchedAnew(_ change: Change) async throws {
        try await TransferWorld.withMediaHost { request in
            request.number == 1 ? Self.old.whole.cut(after: 7 << 20) : Self.answer(change, request)
        } before: { world, request in
            if SentRequest(request).offset > 0 { await eventually { world.reporter.record?.uploadID != nil } }
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            #expect(host.offsets == [0, 7 << 20, 0])
            #expect(host.requests[1].ifRange == Self.old.etag)
            try expectOldUploadAborted(world)
            try await world.expectObject(transfer, is: Self.new.bytes)
        }
    }

    /// Its length was believed by then, and is the plan for the parts.
    @Test(.timeLimit(.minutes(1)), arguments: [1 << 20, 3 << 20])
    func sourceThatChangesBeforeItsFirstByteIsFetchedAsItIs(_ bytes: Int) async throws {
        let old = MediaFile(2 << 20, seed: 1, etag: "\"old\"")
        let new = MediaFile(bytes, seed: 2, etag: "\"new\"")
        try await TransferWorld.withMediaHost { request in
            request.number == 1 ? old.whole.cut(after: 0) : new.answer(request)
        } before: { world, request in
            if SentRequest(request).isFetch, !world.fetches.isEmpty {
                await eventually { world.reporter.saved.contains { $0.size == 2 << 20 } }
            }
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            #expect(host.offsets.allSatisfy { $0 == 0 })
            try await world.expectObject(transfer, is: new.bytes)
        }
    }

    @Test func hostWithoutRangesIsAskedFromTheBeginning() async throws {
        try await TransferWorld.withMediaHost { request in
            request.number == 1 ? Self.old.whole.cut(after: 7 << 20) : Self.old.whole
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            #expect(host.offsets == [0, 7 << 20, 0])
            // Gone before it is written to again.
            #expect(world.fetches.map(\.held) == [0, 7 << 20, 0])
            try await world.expectObject(transfer, is: Self.old.bytes)
        }
    }

    @Test(arguments: ["W/\"old\"", nil])
    func sourceWithoutAStrongTagIsNotGoneOnFrom(_ etag: String?) async throws {
        var (old, new) = (Self.old, Self.new)
        (old.etag, new.etag) = (etag, etag)
        let (first, second) = (old, new)
        try await TransferWorld.withMediaHost { request in
            request.number == 1 ? first.whole.cut(after: 7 << 20) : second.answer(request)
        } _: { world, host, transfer in
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "download_body_truncated")
            #expect(failure.isRetryable)
            world.expectComplete(await world.perform(transfer))
            #expect(host.requests.map(\.offset) == [nil, nil])
            try await world.expectObject(transfer, is: second.bytes)
        }
    }
}

/// The same, when a transfer was stopped in between.
@Suite(.timeLimit(.minutes(2))) struct StoppedTransferTests {
    private static let part = 5 << 20
    private static let old = MediaFile(3 * part + 7, seed: 1, etag: "\"old\"")
    private static let new = MediaFile(3 * part + 1_000_000, seed: 2, etag: "\"new\"")

    /// Stops a transfer whose download stands still after 12 MiB once R2 has `parts`, then goes on with `body`.
    private func withStopped(
        _ parts: Set<Int>, mp4 later: @escaping MediaHost.Script,
        _ body: @escaping @Sendable (TransferWorld, MediaHost, ActionRequest) async throws -> Void
    ) async throws {
        let gate = PartGate(passing: parts)
        try await TransferWorld.withMediaHost { request in
            request.number == 1 ? Self.old.whole.cut(after: 12 << 20, .open) : later(request)
        } before: { _, request in
            await gate.admit(request)
        } _: { world, host, transfer in
            await world.perform(transfer, untilStored: parts, held: 12 << 20)
            gate.open()
            try await body(world, host, transfer)
        }
    }

    @Test func anotherMachineFetchesOnlyWhatR2HasNot() async throws {
        try await withStopped([1, 2]) {
            Self.old.answer($0)
        } _: { world, host, transfer in
            let other = try world.onAnotherMachine()
            let before = world.sent.count
            other.expectComplete(await other.perform(transfer))
            #expect(host.offsets == [0, 2 * Self.part])
            #expect(host.requests[1].bytesServed == Self.old.bytes.count - 2 * Self.part)
            #expect(world.sent.dropFirst(before).compactMap(\.partNumber).sorted() == [3, 4])
            try await world.expectObject(transfer, is: Self.old.bytes)
        }
    }

    @Test func anotherMachineUsesPartsBehindAMissingOne() async throws {
        try await withStopped([2]) {
            Self.old.answer($0)
        } _: { world, host, transfer in
            let other = try world.onAnotherMachine()
            let before = world.sent.count
            other.expectComplete(await other.perform(transfer))
            #expect(host.offsets == [0, 0])
            #expect(world.sent.dropFirst(before).compactMap(\.partNumber).sorted() == [1, 3, 4])
            try await world.expectObject(transfer, is: Self.old.bytes)
        }
    }

    @Test func sameMachineFetchesOnlyWhatTheSpoolHasNot() async throws {
        try await withStopped([1]) {
            Self.old.answer($0)
        } _: { world, host, transfer in
            world.expectComplete(await world.perform(transfer))
            #expect(host.offsets == [0, 12 << 20])
            #expect(host.requests[1].bytesServed == Self.old.bytes.count - 12 << 20)
            #expect(world.puts(ofPart: 1).count == 1)
            try await world.expectObject(transfer, is: Self.old.bytes)
        }
    }

    @Test(arguments: [true, false], [Set([1, 2]), [2]])
    func sourceThatChangedMeanwhileIsFetchedAnew(_ isSameMachine: Bool, _ parts: Set<Int>) async throws {
        try await withStopped(parts) {
            Self.new.answer($0)
        } _: { world, host, transfer in
            let old = try #require(world.reporter.record?.uploadID)
            let there = isSameMachine ? world : try world.onAnotherMachine()
            there.expectComplete(await there.perform(transfer))
            #expect(world.sent.contains { $0.method == .delete && $0.url.contains("uploadId=\(old)") })
            try await world.expectObject(transfer, is: Self.new.bytes)
        }
    }

    @Test func abortionThatFailsIsMadeUpFor() async throws {
        let gate = PartGate(passing: [1])
        try await TransferWorld.withMediaHost(faults: ["route=abort,status=503,count=1"]) { request in
            request.number == 1 ? Self.old.whole.cut(after: 12 << 20, .open) : Self.new.answer(request)
        } before: { _, request in
            await gate.admit(request)
        } _: { world, host, transfer in
            await world.perform(transfer, untilStored: [1])
            gate.open()
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.isRetryable)
            world.expectComplete(await world.perform(transfer))
            try await world.expectObject(transfer, is: Self.new.bytes)
        }
    }

    @Test func uploadThatIsGoneMeanwhileIsOpenedAnewWithoutASecondDownload() async throws {
        let gate = PartGate(passing: [1])
        try await TransferWorld.withMediaHost(faults: ["route=parts,status=503,count=1"]) { request in
            Self.old.answer(request)
        } before: { _, request in
            await gate.admit(request)
        } _: { world, host, transfer in
            await world.perform(transfer, untilStored: [1])
            gate.open()
            try await world.storage.abortMultipartUpload(
                world.key(of: transfer), uploadID: try #require(world.reporter.record?.uploadID))
            let held = Int(world.spool.size(of: transfer.uid))
            // Whether R2 has parts must be known before anything else is done.
            #expect(await world.perform(transfer).failure?.isRetryable == true)
            #expect(host.requests.count == 1)
            world.expectComplete(await world.perform(transfer))
            #expect(host.offsets.dropFirst().allSatisfy { $0 == held })
            #expect(world.puts(ofPart: 1).count == 2)
            try await world.expectObject(transfer, is: Self.old.bytes)
        }
    }
}
