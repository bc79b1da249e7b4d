// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import HTTPTypes
import NIOConcurrencyHelpers
import ObjectStorage

/// R2 with one bucket: single puts and uploads in parts, each body checked against the hash that it is signed with.
final class Bucket: Sendable {
    struct Object: Sendable {
        var bytes: [UInt8]
        var etag: String
    }

    private struct Upload: Sendable {
        var key: String
        var initiated: Timestamp
        var parts: [Int: Object] = [:]
    }

    private struct State: Sendable {
        var objects: [String: Object] = [:]
        var uploads: [String: Upload] = [:]
        var lastUpload = 0
        /// What was said of each key's object, for a variant that believes it.
        var promised: [String: (size: Int, etag: String)] = [:]
    }

    private let world: WorldState
    private let state = NIOLockedValueBox(State())

    init(_ world: WorldState) { self.world = world }

    func object(_ key: String) -> Object? { state.withLockedValue { $0.objects[key] } }
    var openUploads: Int { state.withLockedValue { $0.uploads.count } }

    func answer(_ call: Upstream.Call, _ sent: [UInt8]) -> Upstream.Answer {
        let key = call.path.joined(separator: "/")
        var body = sent
        if call.method == .put, !body.isEmpty, isCorrupted(call) { body[body.count / 2] ^= 1 }
        let hash = call.headers[.contentHash] ?? ""
        if call.method == .put, hash != "UNSIGNED-PAYLOAD", FileDigest(of: body).sha256 != hash {
            return Self.error(400, "XAmzContentSHA256Mismatch")
        }
        switch (call.method, call.query["uploadId"]) {
        case (.put, nil): return put(key, body, call.headers)
        case (.put, let id?): return putPart(id, call.query["partNumber"].flatMap(Int.init) ?? 0, body)
        case (.post, nil): return create(key)
        case (.post, let id?): return complete(id, body)
        case (.get, nil): return listUploads(call.query["prefix"] ?? "")
        case (.get, let id?): return listParts(id)
        case (.delete, let id?): return abort(id)
        case (.head, _): return head(key)
        default: return Self.error(405, "MethodNotAllowed")
        }
    }

    /// There are few parts, so that they are struck more often.
    private func isCorrupted(_ call: Upstream.Call) -> Bool {
        world.strikes(.corruption) || (call.query["partNumber"] != nil && world.strikes(.corruption, at: 0.3))
    }

    // MARK: Objects

    private func put(_ key: String, _ body: [UInt8], _ headers: HTTPFields) -> Upstream.Answer {
        let present = object(key)
        if headers[.ifNoneMatch] == "*", present != nil { return Self.error(412, "PreconditionFailed") }
        if let tag = headers[.ifMatch], tag != present.map({ "\"\($0.etag)\"" }) {
            return Self.error(412, "PreconditionFailed")
        }
        let object = Object(bytes: body, etag: FileDigest(of: body).md5)
        store(key, object)
        return Self.tagged(object.etag)
    }

    /// R2 may take an object and have lost it by the time that it is asked for it.
    private func store(_ key: String, _ object: Object) {
        let isLost = world.strikes(.vanishingPut)
        state.withLockedValue { state in
            state.promised[key] = (object.bytes.count, object.etag)
            if !isLost { state.objects[key] = object }
        }
    }

    private func head(_ key: String) -> Upstream.Answer {
        let (object, promised) = state.withLockedValue { ($0.objects[key], $0.promised[key]) }
        if world.scenario.variant == .assumeObject, let promised {
            var answer = Self.tagged(promised.etag)
            answer.contentLength = UInt64(promised.size)
            return answer
        }
        guard let object else { return Upstream.Answer(404) }
        var answer = Self.tagged(object.etag)
        answer.contentLength = UInt64(object.bytes.count)
        return answer
    }

    // MARK: Uploads in parts

    private func create(_ key: String) -> Upstream.Answer {
        let now = world.clock.now()
        let id = state.withLockedValue { state in
            state.lastUpload += 1
            let id = "upload-\(state.lastUpload)"
            state.uploads[id] = Upload(key: key, initiated: now)
            return id
        }
        return Self.xml("<InitiateMultipartUploadResult><UploadId>\(id)</UploadId></InitiateMultipartUploadResult>")
    }

    private func putPart(_ id: String, _ number: Int, _ body: [UInt8]) -> Upstream.Answer {
        let part = Object(bytes: body, etag: FileDigest(of: body).md5)
        let isThere = state.withLockedValue { state in
            guard state.uploads[id] != nil else { return false }
            state.uploads[id]?.parts[number] = part
            return true
        }
        return isThere ? Self.tagged(part.etag) : Self.error(404, "NoSuchUpload")
    }

    private func listParts(_ id: String) -> Upstream.Answer {
        guard let upload = state.withLockedValue({ $0.uploads[id] }) else { return Self.error(404, "NoSuchUpload") }
        let parts = upload.parts.sorted { $0.key < $1.key }.map { number, part in
            "<Part><PartNumber>\(number)</PartNumber><Size>\(part.bytes.count)</Size><ETag>&quot;\(part.etag)&quot;"
                + "</ETag></Part>"
        }
        return Self.xml("<ListPartsResult>\(parts.joined())<IsTruncated>false</IsTruncated></ListPartsResult>")
    }

    private func listUploads(_ prefix: String) -> Upstream.Answer {
        let uploads = state.withLockedValue { $0.uploads.filter { $0.value.key.hasPrefix(prefix) } }
        let items = uploads.sorted { $0.key < $1.key }.map { id, upload in
            "<Upload><Key>\(upload.key)</Key><UploadId>\(id)</UploadId><Initiated>\(upload.initiated.rfc3339)"
                + "</Initiated></Upload>"
        }
        return Self.xml(
            "<ListMultipartUploadsResult>\(items.joined())<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
        )
    }

    private func abort(_ id: String) -> Upstream.Answer {
        let upload = state.withLockedValue { $0.uploads.removeValue(forKey: id) }
        return upload == nil ? Self.error(404, "NoSuchUpload") : Upstream.Answer(204)
    }

    private func complete(_ id: String, _ body: [UInt8]) -> Upstream.Answer {
        guard let upload = state.withLockedValue({ $0.uploads[id] }) else { return Self.error(404, "NoSuchUpload") }
        let pattern = /<PartNumber>(\d+)<\/PartNumber><ETag>&quot;([0-9a-f]*)&quot;<\/ETag>/
        let wanted = String(decoding: body, as: UTF8.self).matches(of: pattern).map { ($0.output.1, $0.output.2) }
        var bytes: [UInt8] = []
        for (index, (number, etag)) in wanted.enumerated() {
            guard let part = Int(number).flatMap({ upload.parts[$0] }), part.etag == etag else {
                return Self.error(400, "InvalidPart")
            }
            if index < wanted.count - 1, UInt64(part.bytes.count) < PartPlan.partBytesMin {
                return Self.error(400, "EntityTooSmall")
            }
            bytes += part.bytes
        }
        let etag = ETag.ofParts(wanted.map { String($0.1) }) ?? ""
        store(upload.key, Object(bytes: bytes, etag: etag))
        state.withLockedValue { $0.uploads[id] = nil }
        return Self.xml(
            "<CompleteMultipartUploadResult><ETag>&quot;\(etag)&quot;</ETag></CompleteMultipartUploadResult>")
    }

    // MARK: Answers

    private static func tagged(_ etag: String) -> Upstream.Answer {
        var answer = Upstream.Answer(200)
        answer.headers[.eTag] = "\"\(etag)\""
        return answer
    }

    private static func xml(_ text: String) -> Upstream.Answer {
        Upstream.Answer(200, Array("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\(text)".utf8))
    }

    private static func error(_ status: Int, _ code: String) -> Upstream.Answer {
        Upstream.Answer(status, Array("<Error><Code>\(code)</Code></Error>".utf8))
    }
}
