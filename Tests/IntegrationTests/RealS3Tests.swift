// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import Foundation
import HTTPTypes
import ObjectStorage
import OutboundHTTP
import Testing

/// The client against an S3 server that others wrote; `deploy/test.sh` starts one (SeaweedFS) and says where it is.
@Suite struct RealS3Tests {
    @Test func singlePutIsStoredAndReadBack() async throws {
        let storage = try RealStorage()
        try await storage.withKey("a b+é~&=/日本.mp4") { client, key in
            let bytes = randomBytes(300_000)
            let digest = FileDigest(of: bytes)
            #expect(try await client.headObject(key) == nil)
            let tag = try await client.putObject(
                key,
                body: .bytes(bytes),
                payloadHash: digest.sha256,
                contentType: "video/mp4",
                headers: [.cacheControl: "public, max-age=60"]
            )
            #expect(ETag.isSame(tag, digest.md5))
            let head = try #require(try await client.headObject(key))
            #expect(head.size == 300_000 && head.contentType == "video/mp4")
            #expect(ETag.isSame(try #require(head.etag), digest.md5))
            #expect(try await client.getObject(key, sink: .memory(bytesMax: 400_000)).body == bytes)
            try await client.deleteObject(key)
            #expect(try await client.headObject(key) == nil)
            try await client.deleteObject(key)
        }
    }

    @Test func emptyObjectIsStored() async throws {
        try await RealStorage().withKey("empty") { client, key in
            _ = try await client.putObject(key, body: .bytes([]), payloadHash: SignatureV4.emptyPayloadHash)
            #expect(try await client.headObject(key)?.size == 0)
        }
    }

    @Test func fileGoesUpInPartsAndComesDownTheSame() async throws {
        try await withFolder { folder in
            try await RealStorage().withKey("parts.mp4") { client, key in
                let spool = folder.appending(path: "spool").path()
                let bytes = randomBytes((12 << 20) + 345)
                try Data(bytes).write(to: URL(filePath: spool))
                let plan = PartPlan(objectBytes: UInt64(bytes.count), partBytes: 5 << 20)
                let upload = try await client.createMultipartUpload(key, contentType: "video/mp4")
                #expect(try await client.listMultipartUploads(prefix: key).map(\.uploadID) == [upload])

                let sent = try await put(plan, of: spool, client: client, key: key, upload: upload)
                let listed = try await client.listParts(key, uploadID: upload)
                #expect(listed.map(\.size) == plan.parts.map(\.length))
                #expect(zip(listed, sent).allSatisfy { ETag.isSame($0.etag, $1.etag) })

                let tag = try await client.completeMultipartUpload(key, uploadID: upload, parts: sent)
                #expect(tag.hasSuffix("-3"))
                #expect(try await client.headObject(key)?.size == UInt64(bytes.count))
                #expect(try await client.listMultipartUploads(prefix: key).isEmpty)

                let copy = folder.appending(path: "copy").path()
                let sink = FileSink(path: copy) { $0.status == 200 ? .write(offset: 0) : .collect }
                _ = try await client.getObject(key, sink: .file(sink))
                #expect(try await FileDigest.ofFile(copy) == FileDigest(of: bytes))
            }
        }
    }

    @Test func abortedUploadIsGone() async throws {
        try await RealStorage().withKey("aborted.mp4") { client, key in
            let upload = try await client.createMultipartUpload(key)
            try await client.abortMultipartUpload(key, uploadID: upload)
            #expect(try await client.listMultipartUploads(prefix: key).isEmpty)
            try await client.abortMultipartUpload(key, uploadID: upload)
            let error = await #expect(throws: ObjectStorageError.self) {
                try await client.listParts(key, uploadID: upload)
            }
            #expect(error?.code == .noSuchUpload)
        }
    }

    /// By their MD5, because SeaweedFS does not compare the body with the signed SHA-256 as R2 and the sandbox do.
    @Test func wrongBytesAreRefused() async throws {
        try await RealStorage().withKey("wrong") { client, key in
            let bytes = Array("abd".utf8)
            let headers: HTTPFields = [.contentMD5: "kAFQmDzST7DWlj99KOF/cg=="]  // of "abc"
            let error = await #expect(throws: ObjectStorageError.self) {
                try await client.putObject(
                    key,
                    body: .bytes(bytes),
                    payloadHash: FileDigest(of: bytes).sha256,
                    headers: headers
                )
            }
            #expect(error?.code == .badDigest && error?.status == 400)
            let head = try await client.headObject(key)
            #expect(head == nil)
        }
    }

    @Test func missingBucketAndWrongKeysAreSaidInWords() async throws {
        let storage = try RealStorage()
        let elsewhere = await #expect(throws: ObjectStorageError.self) {
            try await storage.client(bucket: "no-such-bucket").headBucket()
        }
        #expect(elsewhere?.code == .noSuchBucket)
        #expect(elsewhere?.message.contains("check R2_BUCKET_NAME") == true)
        let refused = await #expect(throws: ObjectStorageError.self) {
            _ = try await storage.client(secretAccessKey: "wrong").listMultipartUploads(prefix: "")
        }
        #expect(refused?.code == .signatureDoesNotMatch)
        #expect(refused?.message.contains("check that R2_ACCESS_KEY_ID") == true)
        let unknown = await #expect(throws: ObjectStorageError.self) {
            _ = try await storage.client(accessKeyID: "nobody").listMultipartUploads(prefix: "")
        }
        #expect(unknown?.code == .invalidAccessKeyID)
        try await storage.client().headBucket()
    }

    @Test func serverThatIsNotThereIsATransferError() async throws {
        let error = await #expect(throws: ObjectStorageError.self) {
            // Port 9 of loopback: nothing listens there.
            try await RealStorage().client(endpoint: "http://127.0.0.1:9").headBucket()
        }
        #expect(error?.transferError?.code == .connect)
        #expect(error?.isRetryable == true && error?.isOutcomeKnown == true)
    }

    /// From the last part to the first, because their order must not matter.
    private func put(
        _ plan: PartPlan,
        of spool: String,
        client: S3Client,
        key: String,
        upload: String
    ) async throws -> [CompletedPart] {
        var sent: [CompletedPart] = []
        for part in plan.parts.reversed() {
            let digest = try await FileDigest.ofFile(spool, offset: part.offset, length: part.length)
            let meter = TransferMeter()
            let tag = try await client.uploadPart(
                key,
                uploadID: upload,
                number: part.number,
                body: .file(path: spool, offset: part.offset, length: part.length),
                payloadHash: digest.sha256,
                meter: meter
            )
            #expect(ETag.isSame(tag, digest.md5))
            #expect(meter.bytesSent == part.length)
            sent.insert(CompletedPart(number: part.number, etag: tag), at: 0)
        }
        return sent
    }

    private func randomBytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            var word = generator.next()
            for _ in 0..<8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        return Array(bytes.prefix(count))
    }

    private func withFolder(_ body: (URL) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "clipbridge-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try await body(folder)
    }
}

extension HTTPField.Name {
    fileprivate static let contentMD5 = HTTPField.Name("Content-MD5")!
}
