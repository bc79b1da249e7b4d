// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import NIOCore
import ObjectStorage

/// A call on one key.
struct S3ObjectCall {
    let store: ObjectStore
    let bucket: String
    let key: ObjectKey
    let payload: S3Payload
    let clock: any WallClock

    /// 5 GiB less 5 MiB: R2's limit for one request.
    private static let putBytesMax: UInt64 = (5 << 30) - (5 << 20)
    private static let completionBytesMax = 4 << 20

    private var headers: HTTPFields { payload.request.headers }

    private var condition: WriteCondition {
        WriteCondition(ifMatch: headers[.ifMatch], ifNoneMatch: headers[.ifNoneMatch])
    }

    func answer(_ call: S3Call, _ beforeBody: () async throws -> Void) async throws -> SandboxResponse {
        switch call {
        case .get, .head:
            try payload.checkEmpty()
            return try read()
        case .put: return try await put(beforeBody)
        case .copy: return try await copy()
        case .delete:
            try store.delete(bucket, key, if: WriteCondition(ifMatch: headers[.ifMatch]))
            return SandboxResponse(status: .noContent)
        case .createUpload: return try await createUpload(beforeBody)
        case .uploadPart(let id, let number): return try await putPart(id, try partNumber(number), beforeBody)
        case .copyPart(let id, let number): return try await copyPart(id, try partNumber(number))
        case .listParts(let id): return try listParts(id)
        case .completeUpload(let id): return try await complete(id, beforeBody)
        case .abortUpload(let id):
            try store.abort(bucket, id)
            return SandboxResponse(status: .noContent)
        case .listBuckets, .headBucket, .createBucket, .deleteBucket, .bucketLocation, .listObjects, .listObjectsV2,
            .listUploads, .deleteObjects:
            throw S3Error.methodNotAllowed
        }
    }

    // MARK: Whole objects

    private func read() throws(S3Error) -> SandboxResponse {
        guard let object = store.object(bucket, key) else { throw .noSuchKey }
        return try ObjectReader(object: object, slices: store.slices(bucket, object)).answer(payload.request)
    }

    private func put(_ beforeBody: () async throws -> Void) async throws -> SandboxResponse {
        var attributes = try ObjectAttributes(headers)
        attributes.guessType(of: key)
        // Said before the body comes; what counts is what holds when it is there.
        try condition.check(store.object(bucket, key))
        guard payload.request.contentLength != nil else { throw S3Error.missingContentLength }
        try await beforeBody()
        let file = store.newFile()
        let receipt = try await payload.receive(to: path(file), bytesMax: Self.putBytesMax)
        let object = StoredObject(
            key: key.text, etag: hexadecimal(receipt.md5), lastModified: clock.now(), attributes: attributes,
            segments: [StoredObject.Segment(file: file, length: receipt.bytes)], crc32: receipt.crc32Text)
        try commit(object, file: file)
        var response = SandboxResponse(status: .ok, headers: [.eTag: "\"\(object.etag)\""])
        response.headers[.amzChecksumCRC32] = object.crc32
        return response
    }

    private func copy() async throws -> SandboxResponse {
        let source = try copySource()
        var attributes = source.object.attributes
        if headers[.amzMetadataDirective]?.uppercased() == "REPLACE" {
            attributes = try ObjectAttributes(headers)
            attributes.guessType(of: key)
        } else if source.bucket == bucket, source.object.key == key.text {
            throw S3Error.invalidRequest(
                "This copy request is illegal because it is trying to copy an object to itself"
                    + " without changing the object's metadata.")
        }
        let file = store.newFile()
        let receipt = try await FileIntake.write(FileBytes(slices: source.slices), to: path(file))
        let object = StoredObject(
            key: key.text, etag: hexadecimal(receipt.md5), lastModified: clock.now(), attributes: attributes,
            segments: [StoredObject.Segment(file: file, length: receipt.bytes)])
        try commit(object, file: file)
        return .xml(copyResult("CopyObjectResult", etag: object.etag, object.lastModified))
    }

    private func commit(_ object: StoredObject, file: String) throws {
        do {
            try store.commit(object, to: bucket, if: condition)
        } catch {
            DataFolder.remove(path(file))
            throw error
        }
    }

    private func path(_ file: String) -> String { "\(store.path(bucket))/\(file)" }

    private func copySource() throws(S3Error) -> (bucket: String, object: StoredObject, slices: [FileSlice]) {
        let header = (headers[.amzCopySource] ?? "").prefix { $0 != "?" }
        let target = try S3Target(rawPath: header.hasPrefix("/") ? String(header) : "/\(header)")
        guard let bucket = target.bucket, let key = target.key else {
            throw .invalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
        }
        guard store.hasBucket(bucket) else { throw .noSuchBucket }
        guard let object = store.object(bucket, key) else { throw .noSuchKey }
        if let tags = headers[.amzCopySourceIfMatch], !EntityTag.matches(tags, object.etag) {
            throw .preconditionFailed
        }
        if let tags = headers[.amzCopySourceIfNoneMatch], EntityTag.matches(tags, object.etag) {
            throw .preconditionFailed
        }
        return (bucket, object, store.slices(bucket, object))
    }

    private func copyResult(_ name: String, etag: String, _ time: Timestamp) -> S3Element {
        S3Element(name, [S3Element("LastModified", time.rfc3339), S3Element("ETag", "\"\(etag)\"")])
    }

    // MARK: Parts

    private func partNumber(_ text: String) throws(S3Error) -> Int {
        guard let number = Int(text), MultipartUpload.partNumbers.contains(number) else {
            throw .invalidArgument("Part number must be an integer between 1 and 10000, inclusive")
        }
        return number
    }

    private func createUpload(_ beforeBody: () async throws -> Void) async throws -> SandboxResponse {
        let attributes = try ObjectAttributes(headers)
        try condition.check(store.object(bucket, key))
        try await beforeBody()
        _ = try await payload.collect(bytesMax: Self.completionBytesMax)
        let upload = try store.createUpload(bucket, key, attributes)
        return .xml(
            S3Element(
                "InitiateMultipartUploadResult",
                [S3Element("Bucket", bucket), S3Element("Key", key.text), S3Element("UploadId", upload.id)]))
    }

    private func putPart(
        _ id: String, _ number: Int, _ beforeBody: () async throws -> Void
    ) async throws -> SandboxResponse {
        _ = try store.upload(bucket, key, id)
        guard payload.request.contentLength != nil else { throw S3Error.missingContentLength }
        try await beforeBody()
        let file = store.newPartFile(id)
        let receipt = try await payload.receive(to: path(file), bytesMax: MultipartUpload.partBytesMax)
        let part = try add(receipt, file, as: number, to: id)
        var response = SandboxResponse(status: .ok, headers: [.eTag: "\"\(part.etag)\""])
        response.headers[.amzChecksumCRC32] = receipt.crc32Text
        return response
    }

    private func copyPart(_ id: String, _ number: Int) async throws -> SandboxResponse {
        _ = try store.upload(bucket, key, id)
        let source = try copySource()
        var slices = source.slices
        switch ByteRange(header: headers[.amzCopySourceRange], size: source.object.size) {
        case .whole: break
        case .part(let offset, let length): slices = slices.part(offset: offset, length: length)
        case .unsatisfiable: throw S3Error.invalidRange(size: source.object.size)
        }
        let file = store.newPartFile(id)
        let receipt = try await FileIntake.write(FileBytes(slices: slices), to: path(file))
        let part = try add(receipt, file, as: number, to: id)
        return .xml(copyResult("CopyPartResult", etag: part.etag, part.lastModified))
    }

    private func add(
        _ receipt: FileIntake.Receipt, _ file: String, as number: Int, to id: String
    ) throws -> MultipartUpload.Part {
        let part = MultipartUpload.Part(
            number: number, etag: hexadecimal(receipt.md5), size: receipt.bytes, file: file, lastModified: clock.now())
        do {
            try store.addPart(part, to: id, in: bucket)
        } catch {
            DataFolder.remove(path(file))
            throw error
        }
        return part
    }

    private func listParts(_ id: String) throws -> SandboxResponse {
        let query = payload.request.query
        let upload = try store.upload(bucket, key, id)
        let marker = query["part-number-marker"].flatMap(Int.init) ?? 0
        let partsMax = min(query["max-parts"].flatMap(Int.init) ?? 1000, 1000)
        let found = upload.sortedParts.filter { $0.number > marker }
        let page = found.prefix(max(0, partsMax))
        var elements = [
            S3Element("Bucket", bucket), S3Element("Key", key.text), S3Element("UploadId", id),
            S3Element("StorageClass", "STANDARD"), S3Element("PartNumberMarker", String(marker)),
            S3Element("NextPartNumberMarker", String(page.last?.number ?? marker)),
            S3Element("MaxParts", String(partsMax)),
            S3Element("IsTruncated", found.count > page.count ? "true" : "false"),
        ]
        elements += page.map { part in
            S3Element(
                "Part",
                [
                    S3Element("PartNumber", String(part.number)),
                    S3Element("LastModified", part.lastModified.rfc3339), S3Element("ETag", "\"\(part.etag)\""),
                    S3Element("Size", String(part.size)),
                ])
        }
        return .xml(S3Element("ListPartsResult", elements))
    }

    private func complete(_ id: String, _ beforeBody: () async throws -> Void) async throws -> SandboxResponse {
        _ = try store.upload(bucket, key, id)
        try await beforeBody()
        let body = try await payload.collect(bytesMax: Self.completionBytesMax)
        let completion = try S3Body.decode(S3Body.Completion.self, from: body)
        let object = try store.complete(bucket, key, id, completion.parts, if: condition)
        return .xml(
            S3Element(
                "CompleteMultipartUploadResult",
                [
                    S3Element("Location", "/\(bucket)/\(PercentEncoding.encode(key.text, keepingSlash: true))"),
                    S3Element("Bucket", bucket), S3Element("Key", key.text), S3Element("ETag", "\"\(object.etag)\""),
                ]))
    }
}
