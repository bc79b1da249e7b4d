// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// The members of a request that set something on a video, checked.
struct StreamVideoChanges: Sendable {
    private var meta: [String: JSONValue]?
    private var allowedOrigins: [String]?
    private var creator: String?
    private var requireSignedURLs: Bool?
    private var thumbnailTimestampPct: Double?
    private var maxDurationSeconds: Int64?
    private var uploadExpiry: Timestamp?
    private var publicDetails: [String: JSONValue]?
    /// Null takes a date away, so it is not the same as nothing.
    private var scheduledDeletion: JSONValue?

    init(_ body: [String: JSONValue]) throws(StreamFailure) {
        meta = try Self.member(body, "meta", "an object", \.objectValue)
        allowedOrigins = try Self.member(body, "allowedOrigins", "a list of texts", Self.texts)
        creator = try Self.member(body, "creator", "a text of at most 64 characters") { value in
            value.stringValue.flatMap { $0.count <= 64 ? $0 : nil }
        }
        requireSignedURLs = try Self.member(body, "requireSignedURLs", "true or false", \.boolValue)
        thumbnailTimestampPct = try Self.member(body, "thumbnailTimestampPct", "from 0 to 1") { value in
            value.numberValue.flatMap { (0...1).contains($0) ? $0 : nil }
        }
        maxDurationSeconds = try Self.member(body, "maxDurationSeconds", "from 1 to 36000") { value in
            value.integerValue.flatMap { (1...36_000).contains($0) ? $0 : nil }
        }
        publicDetails = try Self.member(body, "publicDetails", "an object", \.objectValue)
        scheduledDeletion = body["scheduledDeletion"]
        uploadExpiry = try time(body["uploadExpiry"], "uploadExpiry")
        _ = try time(scheduledDeletion, "scheduledDeletion")
    }

    func apply(to video: inout StreamVideo) {
        if let meta { video.meta = meta }
        if let allowedOrigins { video.allowedOrigins = allowedOrigins }
        if let creator { video.creator = creator }
        if let requireSignedURLs { video.requireSignedURLs = requireSignedURLs }
        if let thumbnailTimestampPct { video.thumbnailTimestampPct = thumbnailTimestampPct }
        if let maxDurationSeconds { video.maxDurationSeconds = maxDurationSeconds }
        if let uploadExpiry { video.uploadExpiry = uploadExpiry }
        if let publicDetails { video.publicDetails = publicDetails }
        if let scheduledDeletion { video.scheduledDeletion = scheduledDeletion.stringValue }
    }

    /// Nil for nothing and for null.
    func time(_ value: JSONValue?, _ name: String) throws(StreamFailure) -> Timestamp? {
        guard let value, value != .null else { return nil }
        guard let time = value.stringValue.flatMap(Timestamp.init(rfc3339:)) else {
            throw .badRequest("\"\(name)\" is no RFC 3339 time", pointer: "/\(name)")
        }
        return time
    }

    private static func member<Value>(
        _ body: [String: JSONValue], _ name: String, _ wanted: String, _ read: (JSONValue) -> Value?
    ) throws(StreamFailure) -> Value? {
        guard let json = body[name], json != .null else { return nil }
        guard let value = read(json) else { throw .badRequest("\"\(name)\" is not \(wanted)", pointer: "/\(name)") }
        return value
    }

    private static func texts(_ value: JSONValue) -> [String]? {
        guard case .array(let items) = value else { return nil }
        let texts = items.compactMap(\.stringValue)
        return texts.count == items.count ? texts : nil
    }
}
