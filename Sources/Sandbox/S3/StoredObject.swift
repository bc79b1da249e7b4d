// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// An object's name: its bytes, for to Unicode some names are equal that are two to S3.
struct ObjectKey: Hashable, Comparable, Sendable {
    let text: String
    private let bytes: [UInt8]

    init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    static func == (left: Self, right: Self) -> Bool { left.bytes == right.bytes }
    static func < (left: Self, right: Self) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
    func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
    func hasPrefix(_ prefix: ObjectKey) -> Bool { bytes.starts(with: prefix.bytes) }

    /// The key up to and with the first delimiter behind a prefix.
    func commonPrefix(behind prefix: ObjectKey, delimiter: ObjectKey) -> ObjectKey? {
        guard !delimiter.bytes.isEmpty else { return nil }
        let rest = bytes[prefix.bytes.count...]
        guard let end = rest.firstRange(of: delimiter.bytes)?.upperBound else { return nil }
        return ObjectKey(String(decoding: bytes[..<end], as: UTF8.self))
    }
}

/// What is known of an object; kept as JSON beside its bytes.
struct StoredObject: Codable, Sendable, Equatable {
    /// A file below the bucket's folder.
    struct Segment: Codable, Sendable, Equatable {
        var file: String
        var length: UInt64
    }

    var key: String
    var etag: String
    var lastModified: Timestamp
    var attributes: ObjectAttributes
    /// The object's bytes: one file, or one for each part.
    var segments: [Segment]
    /// Base64, of the whole object; what came with it and was found right.
    var crc32: String?

    var size: UInt64 { segments.reduce(0) { $0 + $1.length } }
}

/// What a client says about an object and gets back.
struct ObjectAttributes: Codable, Sendable, Equatable {
    /// `Content-Type` and its like, by their names in lower case.
    var headers: [String: String] = [:]
    /// `x-amz-meta-*`, without that prefix.
    var metadata: [String: String] = [:]
}

/// Conditions on a key that a write must meet.
struct WriteCondition: Sendable, Equatable {
    var ifMatch: String?
    var ifNoneMatch: String?

    func check(_ current: StoredObject?) throws(S3Error) {
        if let ifMatch, !EntityTag.matches(ifMatch, current?.etag) { throw .preconditionFailed }
        if let ifNoneMatch, EntityTag.matches(ifNoneMatch, current?.etag) { throw .preconditionFailed }
    }
}
