// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import HTTPTypes
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP
import Pipeline
import Sandbox
import Testing

/// What R2 does wrong. None of it may cost a second download.
@Suite(.timeLimit(.minutes(2))) struct StorageFaultTests {
    private static let part = 5 << 20
    /// Three parts.
    private static let bytes = 2 * part + 7

    private func expectOneDownload(
        _ world: TransferWorld, _ transfer: ActionRequest, _ bytes: Int = Self.bytes,
        sourceLocation: Testing.SourceLocation = #_sourceLocation
    ) async throws {
        #expect(
            world.downloads(of: transfer) == DownloadCount(fullRequests: 1, bytes: UInt64(bytes)),
            sourceLocation: sourceLocation)
        try await world.expectSameBytes(transfer, bytes, sourceLocation: sourceLocation)
    }

    /// Nothing is put before all is fetched, so that a stop of the transfer cuts no download off.
    private static let afterTheDownload: TransferWorld.Hook = { world, request in
        guard SentRequest(request).partNumber != nil else { return }
        await eventually { world.spool.bytesUsed() == UInt64(Self.bytes) }
    }

    // MARK: Passing faults

    @Test(arguments: [
        "route=part,kind=reset,after=1MiB,count=2", "route=part,kind=truncate,after=1MiB,count=1",
        "route=part,kind=drop,count=1", "route=part,latency=200,count=3", "route=create,status=503,count=1",
        "route=complete,status=500,count=1", "route=complete,kind=reset,count=1",
    ])
    func faultOfAnUploadIsMadeUpForFromTheSpool(_ fault: String) async throws {
        try await TransferWorld.run([fault]) { world in
            let transfer = try await world.ready(Self.bytes)
            world.expectComplete(await world.perform(transfer))
            try await expectOneDownload(world, transfer)
        }
    }

    @Test(arguments: [
        "status=500", "status=503", "status=429", "status=400,code=IncompleteBody", "status=400,code=BadDigest",
        "status=400,code=XAmzContentSHA256Mismatch", "status=503,code=SlowDown", "status=400,code=RequestTimeout",
    ])
    func refusedPartIsPutAgain(_ answer: String) async throws {
        try await TransferWorld.run(["route=part,\(answer),count=1"]) { world in
            let transfer = try await world.ready(Self.bytes)
            world.expectComplete(await world.perform(transfer))
            #expect(world.sent.count { $0.partNumber != nil } == 3 + 1)
            try await expectOneDownload(world, transfer)
        }
    }

    @Test(arguments: [
        "kind=reset,after=50000", "kind=truncate,after=50000", "kind=drop", "status=500", "status=429",
        "status=400,code=IncompleteBody",
    ])
    func faultOfASinglePutIsMadeUpForFromTheSpool(_ fault: String) async throws {
        try await TransferWorld.run(["route=put,\(fault),count=1"]) { world in
            let transfer = try await world.ready(100_000)
            world.expectComplete(await world.perform(transfer))
            try await expectOneDownload(world, transfer, 100_000)
        }
    }

    @Test func stalledPartEndsByTheLowSpeedLimitAndIsPutAgain() async throws {
        try await TransferWorld.run(["route=part,kind=stall,after=1MiB,count=1"]) { world, request in
            if SentRequest(request).partNumber != nil { request.limits.lowSpeed = .seconds(3) }
        } _: { world in
            let transfer = try await world.ready(Self.bytes)
            world.expectComplete(await world.perform(transfer))
            #expect(world.sent.count { $0.partNumber != nil } > 3)
            try await expectOneDownload(world, transfer)
        }
    }

    @Test(arguments: ["503", "429"])
    func retryAfterIsHonoured(_ status: String) async throws {
        let fault = "route=part,status=\(status),retry-after=2,count=1"
        try await TransferWorld.run([fault]) { world in
            let transfer = try await world.ready(Self.bytes)
            world.expectComplete(await world.perform(transfer))
            let again = (1...3).map { world.puts(ofPart: $0) }.filter { $0.count > 1 }
            try #require(again.count == 1)
            #expect(again[0][1].at - again[0][0].at >= .seconds(2))
            try await expectOneDownload(world, transfer)
        }
    }

    @Test func longRetryAfterIsThePlanners() async throws {
        let fault = "route=part,status=503,retry-after=60,count=1"
        try await TransferWorld.run([fault], before: Self.afterTheDownload) { world in
            let transfer = try await world.ready(Self.bytes)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "r2_ServiceUnavailable")
            #expect(failure.isRetryable)
            #expect(failure.retryAfter == .seconds(60))
            world.expectComplete(await world.performAgain(transfer))
            try await expectOneDownload(world, transfer)
        }
    }

    @Test(arguments: ["route=part,status=503,count=7", "route=head,status=503,count=1"])
    func faultThatLastsIsRetryableAndKeepsTheSpool(_ fault: String) async throws {
        try await TransferWorld.run([fault], before: Self.afterTheDownload) { world in
            let transfer = try await world.ready(Self.bytes)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "r2_ServiceUnavailable")
            #expect(failure.isRetryable)
            world.expectComplete(await world.performAgain(transfer))
            try await expectOneDownload(world, transfer)
        }
    }

    // MARK: Others' objects

    private static let others = Array("another's".utf8)

    /// Somebody else stores an object just before the first put.
    private static func beforeTheFirstPut(
        _ also: @escaping @Sendable (TransferWorld) -> Void = { _ in }
    ) -> TransferWorld.Hook {
        { world, request in
            guard request.method == .put, world.sent.allSatisfy({ $0.method != .put }) else { return }
            let key = request.url.split(separator: "/").suffix(2).joined(separator: "/")
            await #expect(throws: Never.self) {
                _ = try await world.storage.putObject(
                    key, body: .bytes(others), payloadHash: FileDigest(of: others).sha256)
            }
            also(world)
        }
    }

    @Test func whatStandsInTheObjectsPlaceIsReplaced() async throws {
        try await TransferWorld.run(before: Self.beforeTheFirstPut()) { world in
            let transfer = try await world.ready(100_000)
            world.expectComplete(await world.perform(transfer))
            #expect(world.sent.count { $0.method == .put } == 2)
            try await expectOneDownload(world, transfer, 100_000)
        }
    }

    /// As after a process stood still between its look at the lease and its put.
    @Test func putDoesNotWriteOverWhatASuccessorHasStored() async throws {
        let takesOver = Self.beforeTheFirstPut { $0.reporter.loseLease() }
        try await TransferWorld.run(before: takesOver) { world in
            let transfer = try await world.ready(100_000)
            #expect(await world.perform(transfer) == .abandoned)
            #expect(world.sent.count { $0.method == .put } == 1)
            let key = try #require(world.reporter.saved.last?.objectKey)
            #expect(try await world.storage.headObject(key)?.size == UInt64(Self.others.count))
        }
    }

    @Test func serverThatKnowsNoConditionsIsPutToWithoutOne() async throws {
        try await TransferWorld.run(["route=put,status=501,code=NotImplemented,count=1"]) { world in
            let transfer = try await world.ready(100_000)
            world.expectComplete(await world.perform(transfer))
            try await expectOneDownload(world, transfer, 100_000)
        }
    }

    // MARK: Uploads that are gone

    /// Half-way and at the end; `InvalidPart` is what R2 says where somebody else has put another part of that number.
    @Test(arguments: [
        "route=part,status=404,code=NoSuchUpload,skip=1", "route=complete,status=404,code=NoSuchUpload",
        "route=complete,status=400,code=InvalidPart",
    ])
    func uploadThatIsGoneStartsAnew(_ fault: String) async throws {
        try await TransferWorld.run(["\(fault),count=1"], before: Self.afterTheDownload) { world in
            let transfer = try await world.ready(Self.bytes)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "r2_upload_gone")
            #expect(failure.isRetryable)
            world.expectComplete(await world.performAgain(transfer))
            #expect(Set(world.reporter.saved.compactMap(\.uploadID)).count == 2)
            // Nothing of the first upload is left, whose end was not true.
            try await expectOneDownload(world, transfer)
        }
    }

    @Test func uploadWhoseIDNeverCameIsNotLeftOpen() async throws {
        try await TransferWorld.run(["route=create,kind=drop,count=1"]) { world in
            let transfer = try await world.ready(Self.bytes)
            world.expectComplete(await world.perform(transfer))
            try await expectOneDownload(world, transfer)
        }
    }

    @Test func uploadsOfOthersAreLeftAlone() async throws {
        try await TransferWorld.run { world in
            let transfer = try await world.ready(Self.bytes)
            let others = ["videos/other.mp4", "\(world.key(of: transfer)).part", "notes.txt"]
            var kept: [String] = []
            for key in others { kept.append(try await world.storage.createMultipartUpload(key)) }
            let stale = try await world.storage.createMultipartUpload(world.key(of: transfer))
            world.expectComplete(await world.perform(transfer))
            let open = try await world.openUploads()
            #expect(!open.contains(stale))
            #expect(Set(open) == Set(kept))
        }
    }
}
