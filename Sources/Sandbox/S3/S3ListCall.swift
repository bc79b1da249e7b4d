// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials
import ObjectStorage

/// Lists a bucket's objects or its unfinished uploads.
struct S3ListCall {
    let store: ObjectStore
    let bucket: String

    private static let entriesMax = 1000

    func answer(_ call: S3Call, _ request: SandboxRequest) throws(S3Error) -> SandboxResponse {
        let query = request.query
        let isSecond = call == .listObjectsV2
        let text = try Encoding(query["encoding-type"])
        let prefix = query["prefix"] ?? ""
        let delimiter = query["delimiter"].flatMap { $0.isEmpty ? nil : $0 }
        let entriesMax = try count(query["max-keys"], "max-keys")
        let token = query["continuation-token"]
        let start = isSecond ? query["start-after"] : query["marker"]
        let after = try token.map(Self.key(inToken:)) ?? start.map(ObjectKey.init)
        let objects = store.objects(bucket)
        let page = S3Listing(
            of: objects.keys.sorted(), prefix: ObjectKey(prefix), delimiter: delimiter.map(ObjectKey.init),
            after: after, entriesMax: entriesMax)

        var elements = [
            S3Element("Name", bucket), S3Element("Prefix", text(prefix)), S3Element("MaxKeys", String(entriesMax)),
            S3Element("IsTruncated", page.next == nil ? "false" : "true"),
        ]
        if let delimiter { elements.append(S3Element("Delimiter", text(delimiter))) }
        if let name = text.name { elements.append(S3Element("EncodingType", name)) }
        if isSecond {
            elements.append(S3Element("KeyCount", String(page.entries.count)))
            if let token { elements.append(S3Element("ContinuationToken", token)) }
            if let start { elements.append(S3Element("StartAfter", text(start))) }
            if let next = page.next { elements.append(S3Element("NextContinuationToken", Self.token(of: next))) }
        } else {
            elements.append(S3Element("Marker", text(start ?? "")))
            if let next = page.next, delimiter != nil { elements.append(S3Element("NextMarker", text(next.text))) }
        }
        elements += page.entries.map { element(of: $0, objects, text) }
        return .xml(S3Element("ListBucketResult", elements))
    }

    func uploads(_ request: SandboxRequest) throws(S3Error) -> SandboxResponse {
        let query = request.query
        let text = try Encoding(query["encoding-type"])
        let prefix = query["prefix"] ?? ""
        let entriesMax = try count(query["max-uploads"], "max-uploads")
        let marker = (ObjectKey(query["key-marker"] ?? ""), query["upload-id-marker"] ?? "")
        let found = store.uploads(bucket)
            .map { (ObjectKey($0.key), $0) }
            .filter { $0.0.hasPrefix(ObjectKey(prefix)) }
            .sorted { ($0.0, $0.1.id) < ($1.0, $1.1.id) }
            .drop { key, upload in
                // Without an id the marker stands behind all uploads of its key.
                marker.1.isEmpty
                    ? key < marker.0 || key == marker.0 && !marker.0.text.isEmpty
                    : (key, upload.id) <= (marker.0, marker.1)
            }
        let page = found.prefix(entriesMax)
        var elements = [
            S3Element("Bucket", bucket), S3Element("Prefix", text(prefix)), S3Element("KeyMarker", text(marker.0.text)),
            S3Element("UploadIdMarker", marker.1), S3Element("MaxUploads", String(entriesMax)),
            S3Element("IsTruncated", found.count > page.count ? "true" : "false"),
        ]
        if let name = text.name { elements.append(S3Element("EncodingType", name)) }
        if found.count > page.count, let last = page.last {
            elements.append(S3Element("NextKeyMarker", text(last.1.key)))
            elements.append(S3Element("NextUploadIdMarker", last.1.id))
        }
        elements += page.map { _, upload in
            S3Element(
                "Upload",
                [
                    S3Element("Key", text(upload.key)), S3Element("UploadId", upload.id),
                    S3Element("StorageClass", "STANDARD"), S3Element("Initiated", upload.created.rfc3339),
                ])
        }
        return .xml(S3Element("ListMultipartUploadsResult", elements))
    }

    /// How keys are written where the client asked for more than XML can hold.
    private struct Encoding {
        let name: String?

        init(_ name: String?) throws(S3Error) {
            guard name == nil || name == "url" else {
                throw .invalidArgument("Invalid Encoding Method specified in Request")
            }
            self.name = name
        }

        func callAsFunction(_ text: String) -> String {
            name == nil ? text : PercentEncoding.encode(text, keepingSlash: true)
        }
    }

    private func element(
        of entry: S3Listing.Entry, _ objects: [ObjectKey: StoredObject], _ text: Encoding
    ) -> S3Element {
        switch entry {
        case .commonPrefix(let prefix): S3Element("CommonPrefixes", [S3Element("Prefix", text(prefix.text))])
        case .key(let key):
            S3Element(
                "Contents",
                [
                    S3Element("Key", text(key.text)),
                    S3Element("LastModified", objects[key]?.lastModified.rfc3339 ?? ""),
                    S3Element("ETag", "\"\(objects[key]?.etag ?? "")\""),
                    S3Element("Size", String(objects[key]?.size ?? 0)),
                    S3Element("StorageClass", "STANDARD"),
                ])
        }
    }

    private func count(_ text: String?, _ name: String) throws(S3Error) -> Int {
        guard let text else { return Self.entriesMax }
        guard let count = Int(text), count >= 0 else {
            throw .invalidArgument("Argument \(name) must be an integer between 0 and 2147483647")
        }
        return min(count, Self.entriesMax)
    }

    private static func token(of key: ObjectKey) -> String { Data(key.text.utf8).base64EncodedString() }

    private static func key(inToken token: String) throws(S3Error) -> ObjectKey {
        guard let data = Data(base64Encoded: token) else {
            throw .invalidArgument("The continuation token provided is incorrect")
        }
        return ObjectKey(String(decoding: data, as: UTF8.self))
    }
}
