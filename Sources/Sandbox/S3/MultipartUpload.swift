// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Crypto
import FoundationEssentials
import NIOConcurrencyHelpers
import NIOCore
import ObjectStorage

/// An upload in parts that is neither complete nor aborted.
struct MultipartUpload: Codable, Sendable {
    struct Part: Codable, Sendable, Equatable {
        var number: Int
        var etag: String
        var size: UInt64
        /// Below the bucket's folder.
        var file: String
        var lastModified: Timestamp
    }

    static let partBytesMin: UInt64 = 5 << 20
    static let partBytesMax: UInt64 = 5 << 30
    static let partNumbers = 1...10_000

    var id: String
    var key: String
    var created: Timestamp
    var attributes: ObjectAttributes
    /// By number. Each is kept in a file of its own, so that parts can come side by side.
    var parts: [Int: Part] = [:]

    enum CodingKeys: String, CodingKey { case id, key, created, attributes }

    var sortedParts: [Part] { parts.values.sorted { $0.number < $1.number } }

    static func load(from path: String) throws -> [String: MultipartUpload] {
        var uploads: [String: MultipartUpload] = [:]
        for id in DataFolder.names(in: path) where DataFolder.exists("\(path)/\(id)/upload.json") {
            var upload = try JSONDecoder().decode(Self.self, from: DataFolder.read("\(path)/\(id)/upload.json"))
            for name in DataFolder.names(in: "\(path)/\(id)") where name.hasPrefix("part-") && name.hasSuffix(".json") {
                let part = try JSONDecoder().decode(Part.self, from: DataFolder.read("\(path)/\(id)/\(name)"))
                upload.parts[part.number] = part
            }
            uploads[id] = upload
        }
        return uploads
    }

    /// The parts that a client names, in order, if R2's rules let them become one object.
    func chosen(_ named: [S3Body.Completion.Part]) throws(S3Error) -> [Part] {
        guard !named.isEmpty else { throw .malformedXML }
        var chosen: [Part] = []
        for name in named.sorted(by: { $0.number < $1.number }) {
            guard let part = parts[name.number], part.etag == EntityTag.bare(name.etag),
                chosen.last?.number != name.number
            else { throw .invalidPart }
            chosen.append(part)
        }
        let leading = chosen.dropLast()
        guard leading.allSatisfy({ $0.size >= Self.partBytesMin }) else { throw .entityTooSmall }
        if let size = leading.first?.size, let last = chosen.last {
            guard leading.allSatisfy({ $0.size == size }), last.size <= size else { throw .unequalParts }
        }
        return chosen
    }

    /// MD5 over the parts' binary MD5s, and how many there are.
    static func etag(of parts: [Part]) -> String {
        var md5 = Insecure.MD5()
        for part in parts { md5.update(data: bytes(hexadecimal: part.etag) ?? []) }
        return "\(hexadecimal(md5.finalize()))-\(parts.count)"
    }
}

extension ObjectStore {
    func uploads(_ bucket: String) -> [MultipartUpload] {
        state.withLockedValue { Array(($0.uploads[bucket] ?? [:]).values) }
    }

    func upload(_ bucket: String, _ key: ObjectKey, _ id: String) throws(S3Error) -> MultipartUpload {
        let upload = state.withLockedValue { $0.uploads[bucket]?[id] }
        guard let upload, ObjectKey(upload.key) == key else { throw .noSuchUpload }
        return upload
    }

    func createUpload(_ bucket: String, _ key: ObjectKey, _ attributes: ObjectAttributes) throws -> MultipartUpload {
        let upload = MultipartUpload(
            id: Self.randomName() + Self.randomName(), key: key.text, created: clock.now(), attributes: attributes)
        let folder = "\(path(bucket))/uploads/\(upload.id)"
        try DataFolder.makeFolder(folder)
        try DataFolder.write(JSONEncoder().encode(upload), to: "\(folder)/upload.json")
        state.withLockedValue { $0.uploads[bucket, default: [:]][upload.id] = upload }
        return upload
    }

    func newPartFile(_ id: String) -> String { "uploads/\(id)/\(Self.randomName())" }

    /// A part of the same number is replaced.
    func addPart(_ part: MultipartUpload.Part, to id: String, in bucket: String) throws {
        let replaced = try state.withLockedValue { state in
            guard state.uploads[bucket]?[id] != nil else { throw S3Error.noSuchUpload }
            let record = "\(path(bucket))/uploads/\(id)/part-\(part.number).json"
            try DataFolder.write(JSONEncoder().encode(part), to: record)
            return state.uploads[bucket]?[id]?.parts.updateValue(part, forKey: part.number)
        }
        if let replaced { DataFolder.remove("\(path(bucket))/\(replaced.file)") }
    }

    /// Aborting what has ended already is no mistake.
    func abort(_ bucket: String, _ id: String) throws(S3Error) {
        let isKnown = state.withLockedValue { state in
            guard state.uploads[bucket]?.removeValue(forKey: id) != nil else { return state.endedUploads.contains(id) }
            state.endedUploads.insert(id)
            DataFolder.remove("\(path(bucket))/uploads/\(id)")
            return true
        }
        guard isKnown else { throw .noSuchUpload }
    }

    /// Makes one object of the named parts; a condition that fails aborts the upload.
    func complete(
        _ bucket: String, _ key: ObjectKey, _ id: String, _ named: [S3Body.Completion.Part],
        if condition: WriteCondition
    ) throws -> StoredObject {
        let upload = try upload(bucket, key, id)
        let parts = try upload.chosen(named)
        // From here on nobody else completes or aborts it.
        guard state.withLockedValue({ $0.uploads[bucket]?.removeValue(forKey: id) }) != nil else {
            throw S3Error.noSuchUpload
        }
        let object = StoredObject(
            key: key.text, etag: MultipartUpload.etag(of: parts), lastModified: clock.now(),
            attributes: upload.attributes,
            segments: parts.map { StoredObject.Segment(file: $0.file, length: $0.size) })
        do {
            try commit(object, to: bucket, if: condition)
        } catch {
            state.withLockedValue { _ = $0.endedUploads.insert(id) }
            DataFolder.remove("\(path(bucket))/uploads/\(id)")
            throw error
        }
        end(upload, keeping: Set(parts.map(\.file)), in: bucket)
        return object
    }

    /// Leaves of the upload's folder only what the object names.
    private func end(_ upload: MultipartUpload, keeping files: Set<String>, in bucket: String) {
        state.withLockedValue { _ = $0.endedUploads.insert(upload.id) }
        let folder = "\(path(bucket))/uploads/\(upload.id)"
        DataFolder.remove("\(folder)/upload.json")
        for name in DataFolder.names(in: folder) where !files.contains("uploads/\(upload.id)/\(name)") {
            DataFolder.remove("\(folder)/\(name)")
        }
    }
}
