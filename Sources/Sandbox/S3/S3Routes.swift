// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import ObjectStorage

/// The S3 API as R2 speaks it, path style, at the root.
struct S3Routes: SandboxArea {
    let store: ObjectStore
    let authentication: S3Authentication
    let clock: any WallClock

    /// Header fields that R2 refuses as a whole.
    private static let unknownHeaders: Set<String> = [
        "x-amz-tagging", "x-amz-website-redirect-location", "x-amz-expected-bucket-owner", "x-amz-object-lock-mode",
        "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold",
        "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-context",
    ]

    func faultRoutes(of request: SandboxRequest) -> Set<FaultRoute> {
        let call = (try? S3Target(rawPath: request.rawPath)).flatMap { try? S3Call.parse(request, $0) }
        return Set([.s3, call?.faultRoute].compactMap(\.self))
    }

    func faultAnswer(status: Int, code: String?) -> SandboxResponse { .s3(.fault(status, code: code)) }

    func respond(to request: SandboxRequest, beforeBody: () async throws -> Void) async throws -> SandboxResponse {
        do {
            return try await admitted(request, beforeBody)
        } catch let error as S3Error {
            return .s3(error)
        } catch let cut as ConnectionCut {
            throw cut
        } catch {
            return .s3(.fault(500))
        }
    }

    private func admitted(
        _ request: SandboxRequest, _ beforeBody: () async throws -> Void
    ) async throws -> SandboxResponse {
        let payload = S3Payload(request: request, sha256: try authentication.check(request))
        let target = try S3Target(rawPath: request.rawPath)
        let call = try S3Call.parse(request, target)
        if let name = request.headers.map({ $0.name.canonicalName }).first(where: Self.unknownHeaders.contains) {
            throw S3Error.notImplemented("Header '\(name)'")
        }
        guard let bucket = target.bucket else { return listBuckets() }
        if call != .createBucket, !store.hasBucket(bucket) { throw S3Error.noSuchBucket }
        guard let key = target.key else {
            return try await bucketAnswer(call, bucket, payload, beforeBody)
        }
        return try await S3ObjectCall(store: store, bucket: bucket, key: key, payload: payload, clock: clock)
            .answer(call, beforeBody)
    }
}

// MARK: - Buckets

extension S3Routes {
    private static let bodyBytesMax = 8 << 20

    private func listBuckets() -> SandboxResponse {
        let buckets = store.buckets.map { bucket in
            S3Element(
                "Bucket",
                [S3Element("Name", bucket.name), S3Element("CreationDate", bucket.created.rfc3339)])
        }
        let owner = authentication.accessKeyID
        return .xml(
            S3Element(
                "ListAllMyBucketsResult",
                [
                    S3Element("Owner", [S3Element("ID", owner), S3Element("DisplayName", owner)]),
                    S3Element("Buckets", buckets),
                ]))
    }

    private func bucketAnswer(
        _ call: S3Call, _ bucket: String, _ payload: S3Payload, _ beforeBody: () async throws -> Void
    ) async throws -> SandboxResponse {
        switch call {
        case .headBucket: return SandboxResponse(status: .ok, headers: [.amzBucketRegion: "auto"])
        case .createBucket:
            try await beforeBody()
            _ = try await payload.collect(bytesMax: Self.bodyBytesMax)
            return try createBucket(bucket)
        case .deleteBucket:
            try store.deleteBucket(bucket)
            return SandboxResponse(status: .noContent)
        case .bucketLocation: return .xml(S3Element("LocationConstraint", "auto"))
        case .listObjects, .listObjectsV2:
            return try S3ListCall(store: store, bucket: bucket).answer(call, payload.request)
        case .listUploads: return try S3ListCall(store: store, bucket: bucket).uploads(payload.request)
        case .deleteObjects:
            try await beforeBody()
            return try await deleteObjects(bucket, payload)
        case .listBuckets, .get, .head, .put, .delete, .copy, .createUpload, .uploadPart, .copyPart, .listParts,
            .completeUpload, .abortUpload:
            throw S3Error.methodNotAllowed
        }
    }

    private func createBucket(_ name: String) throws -> SandboxResponse {
        guard Self.isBucketName(name) else { throw S3Error.invalidBucketName }
        guard try store.createBucket(name) else { throw S3Error.bucketExists }
        return SandboxResponse(status: .ok, headers: [.location: "/\(name)"])
    }

    /// 3 to 63 of small letters, digits and hyphens, none of them at an end.
    private static func isBucketName(_ name: String) -> Bool {
        (3...63).contains(name.utf8.count) && !Areas.reservedNames.contains(name)
            && name.first != "-" && name.last != "-"
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    private func deleteObjects(_ bucket: String, _ payload: S3Payload) async throws -> SandboxResponse {
        let body = try await payload.collect(bytesMax: Self.bodyBytesMax)
        let deletion = try S3Body.decode(S3Body.Deletion.self, from: body)
        guard deletion.objects.count <= 1000 else { throw S3Error.malformedXML }
        for object in deletion.objects { try store.delete(bucket, ObjectKey(object.key)) }
        let deleted = deletion.objects.map { S3Element("Deleted", [S3Element("Key", $0.key)]) }
        return .xml(S3Element("DeleteResult", deletion.isQuiet == true ? [] : deleted))
    }
}
