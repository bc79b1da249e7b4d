// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
package import HTTPTypes
package import OutboundHTTP

extension S3Client {
    /// Opens an upload in parts and returns its id.
    package func createMultipartUpload(
        _ key: String,
        contentType: String? = nil,
        headers: HTTPFields = [:]
    ) async throws(ObjectStorageError) -> String {
        // An empty body, and not none: R2 wants the length of a POST said even if it is 0.
        let call = Call(
            operation: "start of upload of \"\(key)\"",
            method: .post,
            key: key,
            query: [("uploads", nil)],
            headers: objectHeaders(headers, contentType: contentType),
            body: .bytes([]),
            notFound: .noSuchBucket
        )
        let response = try await perform(call)
        guard let result = S3XML.decode(S3XML.InitiateResult.self, from: response.body), !result.uploadID.isEmpty else {
            throw malformed(response, operation: call.operation, lacking: "UploadId")
        }
        return result.uploadID
    }

    /// Stores one part and returns its ETag without quotes.
    package func uploadPart(
        _ key: String,
        uploadID: String,
        number: Int,
        body: OutboundBody,
        payloadHash: String,
        meter: TransferMeter? = nil
    ) async throws(ObjectStorageError) -> String {
        let call = Call(
            operation: "put of part \(number) of \"\(key)\"",
            method: .put,
            key: key,
            query: [("partNumber", String(number)), ("uploadId", uploadID)],
            body: body,
            payloadHash: payloadHash,
            limits: .file,
            meter: meter,
            notFound: .noSuchUpload
        )
        let response = try await perform(call)
        guard let tag = etag(of: response) else {
            throw malformed(response, operation: call.operation, lacking: "ETag")
        }
        return tag
    }

    /// All parts that the storage holds of an upload, in the order of their numbers.
    package func listParts(_ key: String, uploadID: String) async throws(ObjectStorageError) -> [UploadedPart] {
        var parts: [UploadedPart] = []
        var marker: Int?
        repeat {
            let page = try await partsPage(key, uploadID: uploadID, after: marker)
            parts += (page.parts ?? []).map {
                UploadedPart(number: $0.number, size: $0.size, etag: ETag.unquoted($0.etag))
            }
            marker = page.isTruncated == true ? page.nextPartNumberMarker : nil
        } while marker != nil
        return parts.sorted { $0.number < $1.number }
    }

    private func partsPage(
        _ key: String,
        uploadID: String,
        after marker: Int?
    ) async throws(ObjectStorageError) -> S3XML.ListPartsResult {
        var query: [(name: String, value: String?)] = [("max-parts", "1000"), ("uploadId", uploadID)]
        if let marker { query.append(("part-number-marker", String(marker))) }
        let call = Call(
            operation: "list of the parts of \"\(key)\"",
            method: .get,
            key: key,
            query: query,
            notFound: .noSuchUpload
        )
        let response = try await perform(call)
        guard let page = S3XML.decode(S3XML.ListPartsResult.self, from: response.body) else {
            throw malformed(response, operation: call.operation, lacking: "a list of parts")
        }
        if page.isTruncated == true, (page.nextPartNumberMarker ?? 0) <= (marker ?? 0) {
            throw malformed(response, operation: call.operation, lacking: "the rest of the list")
        }
        return page
    }

    /// Makes one object of the parts and returns its ETag without quotes.
    ///
    /// After an error with an unknown outcome the upload may be gone because it was completed: `.noSuchUpload` on the
    /// next try asks for a look at the object.
    package func completeMultipartUpload(
        _ key: String,
        uploadID: String,
        parts: [CompletedPart],
        ifNoneMatch: String? = nil
    ) async throws(ObjectStorageError) -> String {
        let body = S3XML.completion(of: parts)
        let call = Call(
            operation: "completion of the upload of \"\(key)\"",
            method: .post,
            key: key,
            query: [("uploadId", uploadID)],
            headers: objectHeaders([:], contentType: "application/xml", ifNoneMatch: ifNoneMatch),
            body: .bytes(body),
            payloadHash: FileDigest(of: body).sha256,
            limits: Self.completionLimits,
            notFound: .noSuchUpload
        )
        let response = try await perform(call)
        let result = S3XML.decode(S3XML.CompleteResult.self, from: response.body)
        // S3 answers 200 before it knows, so the body has the last word.
        if result?.code != nil { throw error(of: response, call: call) }
        guard let tag = result?.etag.map(ETag.unquoted), !tag.isEmpty else {
            throw malformed(response, operation: call.operation, lacking: "ETag")
        }
        return tag
    }

    /// An upload that is gone already is as good as aborted.
    package func abortMultipartUpload(_ key: String, uploadID: String) async throws(ObjectStorageError) {
        let call = Call(
            operation: "abortion of the upload of \"\(key)\"",
            method: .delete,
            key: key,
            query: [("uploadId", uploadID)],
            notFound: .noSuchUpload
        )
        do throws(ObjectStorageError) {
            _ = try await perform(call)
        } catch {
            if error.code != .noSuchUpload { throw error }
        }
    }

    /// All open uploads of objects whose keys begin with `prefix`.
    package func listMultipartUploads(prefix: String) async throws(ObjectStorageError) -> [MultipartUpload] {
        var uploads: [MultipartUpload] = []
        var marker: UploadMarker?
        repeat {
            let page = try await uploadsPage(prefix: prefix, after: marker)
            uploads += (page.uploads ?? []).map {
                MultipartUpload(
                    key: $0.key,
                    uploadID: $0.uploadID,
                    initiated: $0.initiated.flatMap(Timestamp.init(rfc3339:))
                )
            }
            marker = page.isTruncated == true ? UploadMarker(page) : nil
        } while marker != nil
        return uploads
    }

    private struct UploadMarker: Equatable {
        var key: String
        var uploadID: String

        init(_ page: S3XML.ListUploadsResult) {
            key = page.nextKeyMarker ?? ""
            uploadID = page.nextUploadIDMarker ?? ""
        }
    }

    private func uploadsPage(
        prefix: String,
        after marker: UploadMarker?
    ) async throws(ObjectStorageError) -> S3XML.ListUploadsResult {
        var query: [(name: String, value: String?)] = [("max-uploads", "1000"), ("prefix", prefix), ("uploads", nil)]
        if let marker { query += [("key-marker", marker.key), ("upload-id-marker", marker.uploadID)] }
        let call = Call(
            operation: "list of open uploads",
            method: .get,
            query: query,
            sink: .memory(bytesMax: 4 << 20),
            notFound: .noSuchBucket
        )
        let response = try await perform(call)
        guard let page = S3XML.decode(S3XML.ListUploadsResult.self, from: response.body) else {
            throw malformed(response, operation: call.operation, lacking: "a list of uploads")
        }
        let next = UploadMarker(page)
        if page.isTruncated == true, next == marker || next.key.isEmpty {
            throw malformed(response, operation: call.operation, lacking: "the rest of the list")
        }
        return page
    }

    /// Putting thousands of parts together takes its time, and meanwhile nothing is sent.
    private static let completionLimits = TransferLimits(
        connect: .seconds(10),
        lowSpeed: .seconds(180),
        lowSpeedBytesPerSecond: 1,
        total: .seconds(300)
    )
}
