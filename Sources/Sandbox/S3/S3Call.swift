// clipbridge
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import ObjectStorage

/// An S3 call, told apart by method, path and query.
enum S3Call: Sendable, Equatable {
    case listBuckets
    case headBucket, createBucket, deleteBucket, bucketLocation
    case listObjects, listObjectsV2, listUploads, deleteObjects
    case get, head, put, delete, copy
    case createUpload
    case uploadPart(id: String, number: String), copyPart(id: String, number: String)
    case listParts(id: String), completeUpload(id: String), abortUpload(id: String)

    /// Whose presence in the query makes another call of it, one that R2 does not have either.
    private static let unknownResources: Set<String> = [
        "acl", "tagging", "versioning", "versions", "policy", "policyStatus", "cors", "lifecycle", "encryption",
        "object-lock", "website", "logging", "notification", "replication", "accelerate", "requestPayment",
        "analytics", "inventory", "metrics", "ownershipControls", "publicAccessBlock", "intelligent-tiering",
        "retention", "legal-hold", "torrent", "restore", "select", "attributes", "session",
    ]

    static func parse(_ request: SandboxRequest, _ target: S3Target) throws(S3Error) -> S3Call {
        if let name = request.query.items.first(where: { unknownResources.contains($0.name) })?.name {
            throw .notImplemented("?\(name)")
        }
        guard target.bucket != nil else {
            guard request.method == .get else { throw .methodNotAllowed }
            return .listBuckets
        }
        return target.key == nil ? try bucketCall(request) : try objectCall(request)
    }

    private static func bucketCall(_ request: SandboxRequest) throws(S3Error) -> S3Call {
        let query = request.query
        switch request.method {
        case .head: return .headBucket
        case .put: return .createBucket
        case .delete: return .deleteBucket
        case .post where query.contains("delete"): return .deleteObjects
        case .get where query.contains("location"): return .bucketLocation
        case .get where query.contains("uploads"): return .listUploads
        case .get: return query["list-type"] == "2" ? .listObjectsV2 : .listObjects
        default: throw .methodNotAllowed
        }
    }

    private static func objectCall(_ request: SandboxRequest) throws(S3Error) -> S3Call {
        let query = request.query
        let isCopy = request.headers[.amzCopySource] != nil
        switch request.method {
        case .head: return .head
        case .get: return query["uploadId"].map { .listParts(id: $0) } ?? .get
        case .put:
            guard let id = query["uploadId"] else { return isCopy ? .copy : .put }
            guard let number = query["partNumber"] else { throw .invalidArgument("partNumber is missing") }
            return isCopy ? .copyPart(id: id, number: number) : .uploadPart(id: id, number: number)
        case .delete: return query["uploadId"].map { .abortUpload(id: $0) } ?? .delete
        case .post where query.contains("uploads"): return .createUpload
        case .post:
            guard let id = query["uploadId"] else { throw .methodNotAllowed }
            return .completeUpload(id: id)
        default: throw .methodNotAllowed
        }
    }

    var faultRoute: FaultRoute? {
        switch self {
        case .get: .getObject
        case .head: .head
        case .put, .copy: .put
        case .delete, .deleteObjects: .deleteObject
        case .createUpload: .create
        case .uploadPart, .copyPart: .part
        case .listParts: .parts
        case .completeUpload: .complete
        case .abortUpload: .abort
        case .listObjects, .listObjectsV2: .listObjects
        case .listBuckets, .headBucket, .createBucket, .deleteBucket, .bucketLocation, .listUploads: nil
        }
    }
}

/// The bucket and key that a path names.
struct S3Target: Sendable, Equatable {
    static let keyBytesMax = 1024

    var bucket: String?
    var key: ObjectKey?

    init(rawPath: String) throws(S3Error) {
        let path = rawPath.dropFirst()
        let bucket = path.prefix { $0 != "/" }
        guard !bucket.isEmpty else { return }
        self.bucket = String(decoding: PercentEncoding.decode(bucket), as: UTF8.self)
        let rest = path[bucket.endIndex...].dropFirst()
        if !rest.isEmpty { key = try Self.key(rest) }
    }

    /// A key is one text; a dot or a slash in it means nothing.
    static func key(_ encoded: some StringProtocol) throws(S3Error) -> ObjectKey {
        guard let text = String(validating: PercentEncoding.decode(encoded), as: UTF8.self) else {
            throw S3Error(400, "InvalidURI", "The key is not UTF-8.")
        }
        guard text.utf8.count <= keyBytesMax else { throw .keyTooLong }
        return ObjectKey(text)
    }
}
