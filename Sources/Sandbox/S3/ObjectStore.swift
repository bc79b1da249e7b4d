// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Crypto
import FoundationEssentials
import NIOConcurrencyHelpers
import NIOCore
import ObjectStorage

/// Buckets and objects in a folder. What exists is what has a JSON file; bytes without one are swept at start.
///
/// A bucket's folder holds `bucket.json`, `objects/` with a JSON file for each key, named by its hash, `data/` with
/// objects' bytes, and `uploads/<id>/` with a multipart upload. A completed upload's parts stay where they are, and the
/// object names them.
final class ObjectStore: Sendable {
    struct Bucket: Codable, Sendable {
        var name: String
        var created: Timestamp
    }

    struct State {
        var buckets: [String: Bucket] = [:]
        var objects: [String: [ObjectKey: StoredObject]] = [:]
        /// By bucket and id.
        var uploads: [String: [String: MultipartUpload]] = [:]
        /// Uploads that came to an end, for aborting one again is no mistake.
        var endedUploads: Set<String> = []
    }

    let folder: DataFolder
    let clock: any WallClock
    let state: NIOLockedValueBox<State>

    /// Reads what an earlier run left.
    init(folder: DataFolder, clock: any WallClock) throws {
        self.folder = folder
        self.clock = clock
        self.state = NIOLockedValueBox(try Self.load(folder))
    }

    // MARK: Buckets

    var buckets: [Bucket] { state.withLockedValue { $0.buckets.values.sorted { $0.name < $1.name } } }

    func hasBucket(_ name: String) -> Bool { state.withLockedValue { $0.buckets[name] != nil } }

    /// Whether it is new.
    @discardableResult
    func createBucket(_ name: String) throws -> Bool {
        let now = clock.now()
        return try state.withLockedValue { state in
            guard state.buckets[name] == nil else { return false }
            let bucket = Bucket(name: name, created: now)
            for part in ["objects", "data", "uploads"] { try DataFolder.makeFolder("\(path(name))/\(part)") }
            try DataFolder.write(JSONEncoder().encode(bucket), to: "\(path(name))/bucket.json")
            state.buckets[name] = bucket
            return true
        }
    }

    func deleteBucket(_ name: String) throws(S3Error) {
        let isEmpty = state.withLockedValue { state in
            guard (state.objects[name] ?? [:]).isEmpty else { return false }
            state.buckets[name] = nil
            state.uploads[name] = nil
            return true
        }
        guard isEmpty else { throw .bucketNotEmpty }
        DataFolder.remove(path(name))
    }

    func path(_ bucket: String) -> String { "\(folder.buckets)/\(bucket)" }

    // MARK: Objects

    func object(_ bucket: String, _ key: ObjectKey) -> StoredObject? {
        state.withLockedValue { $0.objects[bucket]?[key] }
    }

    func objects(_ bucket: String) -> [ObjectKey: StoredObject] {
        state.withLockedValue { $0.objects[bucket] ?? [:] }
    }

    func slices(_ bucket: String, _ object: StoredObject) -> [FileSlice] {
        object.segments.map { FileSlice(path: "\(path(bucket))/\($0.file)", offset: 0, length: $0.length) }
    }

    /// A file for bytes that belong to no object yet, as a path below the bucket's folder.
    func newFile() -> String { "data/\(Self.randomName())" }

    static func randomName() -> String {
        hexadecimal((0..<16).map { _ in UInt8.random(in: 0 ... .max) })
    }

    /// The object takes its key's place at once and whole, if the condition holds then.
    func commit(_ object: StoredObject, to bucket: String, if condition: WriteCondition) throws {
        let key = ObjectKey(object.key)
        let replaced = try state.withLockedValue { state in
            guard state.buckets[bucket] != nil else { throw S3Error.noSuchBucket }
            let current = state.objects[bucket]?[key]
            try condition.check(current)
            try DataFolder.write(JSONEncoder().encode(object), to: recordPath(bucket, key))
            state.objects[bucket, default: [:]][key] = object
            return current
        }
        if let replaced { removeFiles(of: replaced, in: bucket) }
    }

    /// Deleting what is not there is no mistake.
    func delete(_ bucket: String, _ key: ObjectKey, if condition: WriteCondition = WriteCondition()) throws(S3Error) {
        let result: Result<StoredObject?, S3Error> = state.withLockedValue { state in
            let current = state.objects[bucket]?[key]
            do throws(S3Error) {
                try condition.check(current)
            } catch {
                return .failure(error)
            }
            state.objects[bucket]?[key] = nil
            DataFolder.remove(recordPath(bucket, key))
            return .success(current)
        }
        if let removed = try result.get() { removeFiles(of: removed, in: bucket) }
    }

    /// An answer that is just being sent keeps its open file.
    private func removeFiles(of object: StoredObject, in bucket: String) {
        for segment in object.segments {
            DataFolder.remove("\(path(bucket))/\(segment.file)")
            // Of a completed upload nothing else is left.
            if segment.file.hasPrefix("uploads/") {
                let folder = segment.file.split(separator: "/").prefix(2).joined(separator: "/")
                DataFolder.removeIfEmpty("\(path(bucket))/\(folder)")
            }
        }
    }

    private func recordPath(_ bucket: String, _ key: ObjectKey) -> String {
        "\(path(bucket))/objects/\(hexadecimal(SHA256.hash(data: Data(key.text.utf8)))).json"
    }

    // MARK: Start

    private static func load(_ folder: DataFolder) throws -> State {
        var state = State()
        for name in DataFolder.names(in: folder.buckets) {
            let path = "\(folder.buckets)/\(name)"
            guard DataFolder.exists("\(path)/bucket.json") else { continue }
            let bucket = try JSONDecoder().decode(Bucket.self, from: DataFolder.read("\(path)/bucket.json"))
            state.buckets[name] = bucket
            for file in DataFolder.names(in: "\(path)/objects") where file.hasSuffix(".json") {
                let data = try DataFolder.read("\(path)/objects/\(file)")
                let object = try JSONDecoder().decode(StoredObject.self, from: data)
                state.objects[name, default: [:]][ObjectKey(object.key)] = object
            }
            state.uploads[name] = try MultipartUpload.load(from: "\(path)/uploads")
            sweep(path, keeping: state.objects[name] ?? [:])
        }
        return state
    }

    /// Bytes that no object names were being written when the last run ended.
    private static func sweep(_ path: String, keeping objects: [ObjectKey: StoredObject]) {
        let named = Set(objects.values.flatMap { $0.segments.map(\.file) })
        for file in DataFolder.names(in: "\(path)/data") where !named.contains("data/\(file)") {
            DataFolder.remove("\(path)/data/\(file)")
        }
        for id in DataFolder.names(in: "\(path)/uploads") where !DataFolder.exists("\(path)/uploads/\(id)/upload.json")
        {
            if !named.contains(where: { $0.hasPrefix("uploads/\(id)/") }) { DataFolder.remove("\(path)/uploads/\(id)") }
        }
    }
}
