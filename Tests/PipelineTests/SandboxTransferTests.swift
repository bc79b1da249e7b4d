// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import CloudflareStream
import CurlTransport
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP
import Pipeline
import Sandbox
import Testing

@Suite(.timeLimit(.minutes(2))) struct SandboxTransferTests {
    private static let part = 5 << 20

    @Test func smallClipGoesInOnePut() async throws {
        try await TransferWorld.run { world in
            let transfer = try await world.ready(1_000_000)
            world.expectComplete(await world.perform(transfer))
            #expect(world.reporter.statuses == [.r2Uploading, .complete])
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes == 1_000_000)
            let etag = world.reporter.details(of: .complete)?[.r2ETag]?.stringValue
            #expect(etag?.contains("-") == false)
            try await world.expectSameBytes(transfer, 1_000_000)
        }
    }

    @Test(arguments: [(2 * part + 1, 3), (2 * part, 2), (part + 1, 2)])
    func largerClipGoesInEqualParts(_ bytes: Int, _ parts: Int) async throws {
        try await TransferWorld.run { world in
            let transfer = try await world.ready(bytes)
            world.expectComplete(await world.perform(transfer))
            #expect(world.reporter.details(of: .complete)?[.r2ETag]?.stringValue?.hasSuffix("-\(parts)") == true)
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func clipOfExactlyOnePartGoesInOnePut() async throws {
        try await TransferWorld.run { world in
            let transfer = try await world.ready(Self.part)
            world.expectComplete(await world.perform(transfer))
            #expect(world.reporter.details(of: .complete)?[.r2ETag]?.stringValue?.contains("-") == false)
        }
    }

    @Test func privateClipIsFetchedWithAToken() async throws {
        try await TransferWorld.run { world in
            let transfer = try await world.ready(100_000, ["requireSignedURLs": true])
            world.expectComplete(await world.perform(transfer))
            let head = try await world.storage.headObject("videos/\(transfer.uid).mp4")
            #expect(head?.size == 100_000)
            for record in world.reporter.saved {
                #expect(record.sourceURL.isEmpty || record.sourceURL.contains(transfer.uid.rawValue))
            }
        }
    }

    @Test(arguments: ["reset", "truncate"])
    func brokenDownloadGoesOnWhereItBroke(_ kind: String) async throws {
        try await TransferWorld.run(["route=mp4,kind=\(kind),after=3MiB,count=1"]) { world in
            let bytes = 8 << 20
            let transfer = try await world.ready(bytes)
            world.expectComplete(await world.perform(transfer))
            let downloads = world.sandbox.downloads(of: transfer.uid.rawValue)
            #expect(downloads.rangeRequests == 1)
            // Not a byte more than what was lost on the way.
            #expect(downloads.bytes <= UInt64(bytes) + (3 << 20))
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test(arguments: ["put", "part"])
    func r2sPassingErrorsCostNoSecondDownload(_ route: String) async throws {
        let bytes = route == "put" ? 100_000 : Self.part * 2 + 7
        try await TransferWorld.run(["route=\(route),status=503,count=5"]) { world in
            let transfer = try await world.ready(bytes)
            var outcome = await world.perform(transfer)
            var tries = 1
            while outcome.failure?.isRetryable == true, tries < 6 {
                outcome = await world.performAgain(transfer)
                tries += 1
            }
            world.expectComplete(outcome)
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes == UInt64(bytes))
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func uploadThatIsGoneHalfwayStartsAnewWithoutASecondDownload() async throws {
        let isAborted = NIOLockedValueBox(false)
        try await TransferWorld.run { world, request in
            guard request.url.contains("partNumber=2"), let id = world.reporter.record?.uploadID,
                !isAborted.withLockedValue({ aborted in
                    defer { aborted = true }; return aborted
                })
            else { return }
            try? await world.storage.abortMultipartUpload(world.reporter.record?.objectKey ?? "", uploadID: id)
        } _: { world in
            let bytes = Self.part * 3
            let transfer = try await world.ready(bytes)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "r2_upload_gone")
            #expect(failure.isRetryable)
            world.expectComplete(await world.performAgain(transfer))
            // The part whose download the stop cut off is all that may be fetched twice.
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes <= UInt64(bytes + Self.part))
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func stoppedUploadGoesOnWithThePartsThatR2AndTheSpoolHave() async throws {
        let stopping = NIOLockedValueBox<Task<ActionOutcome, Never>?>(nil)
        let numbers = NIOLockedValueBox<[Int]>([])
        try await TransferWorld.run { _, request in
            guard let match = request.url.firstMatch(of: /partNumber=(\d+)/), let number = Int(match.output.1) else {
                return
            }
            numbers.withLockedValue { $0.append(number) }
            if number == 4 { stopping.withLockedValue { $0 }?.cancel() }
        } _: { world in
            let bytes = Self.part * 6
            let transfer = try await world.ready(bytes)
            let gate = Gate()
            let task = Task {
                await gate.wait()
                return await world.perform(transfer)
            }
            stopping.withLockedValue { $0 = task }
            gate.open()
            #expect(await task.value == .abandoned)
            stopping.withLockedValue { $0 = nil }
            let record = try #require(world.reporter.record)
            #expect(record.parts.map(\.number).sorted().prefix(3) == [1, 2, 3])
            world.expectComplete(await world.perform(transfer))
            // Besides the unfinished part, one whose digest was being taken while the stop came.
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes <= UInt64(bytes + 2 * Self.part))
            // Only what was on its way when the stop came is put twice.
            #expect(numbers.withLockedValue { $0 }.count <= 6 + 2)
            try await world.expectSameBytes(transfer, bytes)
        }
    }

    @Test func completionWhoseAnswerIsLostIsMadeUpFor() async throws {
        try await TransferWorld.run(["route=complete,kind=drop,count=1"]) { world in
            let transfer = try await world.ready(Self.part * 2)
            let outcome = await world.perform(transfer)
            world.expectComplete(outcome == .reported ? outcome : await world.performAgain(transfer))
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes == UInt64(Self.part * 2))
        }
    }

    @Test func missingBucketStopsTheClipWithWordsAndKeepsTheSpool() async throws {
        try await TransferWorld.run(bucket: "nowhere") { world in
            let transfer = try await world.ready(10_000)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(!failure.isRetryable)
            #expect(failure.message.contains("R2_BUCKET_NAME"))
            #expect(world.spool.size(of: transfer.uid) == 10_000)
        }
    }

    @Test func wrongKeysStopTheClipWithWords() async throws {
        try await TransferWorld.run(secret: "wrong") { world in
            let failure = try #require(await world.perform(try await world.ready(10_000)).failure)
            #expect(!failure.isRetryable)
            #expect(failure.message.contains("R2_SECRET_ACCESS_KEY"))
        }
    }

    @Test func spoolThatIsTooSmallStopsTheClipBeforeAByteIsPaidFor() async throws {
        try await TransferWorld.run(spoolBytesMax: 50_000) { world in
            let transfer = try await world.ready(5_000_000)
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "spool_too_small")
            #expect(!failure.isRetryable)
            #expect(world.spool.size(of: transfer.uid) == 0)
        }
    }

    @Test func mp4ThatFailsIsMissing() async throws {
        try await TransferWorld.run { world in
            let uid = try await world.copy(1_000, ["meta": ["sandbox_mp4": "error"]])
            _ = try await world.observe(uid, .checkVideo, .queued, until: .streamReady)
            _ = await world.perform(request(uid, .requestMP4, .streamReady))
            await eventually {
                if case .mp4Missing(let failure) = await world.perform(request(uid, .checkMP4, .waitForMP4)) {
                    return failure.code == "mp4_failed"
                }
                return false
            }
        }
    }

    @Test func stoppedTransferIsAbandonedAndGoneOnWith() async throws {
        try await TransferWorld.run(["route=mp4,kind=stall,after=2MiB,count=1"]) { world in
            let bytes = 4 << 20
            let transfer = try await world.ready(bytes)
            let task = Task { await world.perform(transfer) }
            await eventually { world.spool.size(of: transfer.uid) >= 1 << 20 }
            task.cancel()
            #expect(await task.value == .abandoned)
            world.expectComplete(await world.perform(transfer))
            // Less than a part had come, and an unfinished part is not trusted.
            #expect(world.sandbox.downloads(of: transfer.uid.rawValue).bytes <= UInt64(bytes + Self.part))
            try await world.expectSameBytes(transfer, bytes)
        }
    }
}
