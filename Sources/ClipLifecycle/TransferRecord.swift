// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// What is known of a clip's transfer, so that a new process can go on from there.
public struct TransferRecord: Sendable, Equatable, Codable {
    /// Without its query, and never with a token in its path.
    public var sourceURL: String
    public var sourceETag: String?
    /// The MP4's length in bytes, once known.
    public var size: UInt64?
    public var spoolPath: String
    /// The machine that holds the spool file, and since which of its starts.
    public var spoolHost: String
    /// Whether the spool file holds the whole MP4.
    public var isFetched: Bool
    public var objectKey: String
    public var partBytes: UInt64?
    public var uploadID: String?
    /// Of the whole object, once R2 has answered for it.
    public var objectETag: String?
    /// Parts that the spool was seen to hold.
    public var parts: [TransferPart]

    public init(
        sourceURL: String, sourceETag: String? = nil, size: UInt64? = nil, spoolPath: String, spoolHost: String,
        isFetched: Bool = false, objectKey: String, partBytes: UInt64? = nil, uploadID: String? = nil,
        objectETag: String? = nil,
        parts: [TransferPart] = []
    ) {
        self.sourceURL = sourceURL
        self.sourceETag = sourceETag
        self.size = size
        self.spoolPath = spoolPath
        self.spoolHost = spoolHost
        self.isFetched = isFetched
        self.objectKey = objectKey
        self.partBytes = partBytes
        self.uploadID = uploadID
        self.objectETag = objectETag
        self.parts = parts
    }
}

/// A part of a transfer's file, by the digests of the bytes that were fetched.
public struct TransferPart: Sendable, Equatable, Codable {
    /// From 1 on, as S3 counts.
    public var number: Int
    public var size: UInt64
    /// Hexadecimal; what the put is signed with.
    public var sha256: String
    /// What R2 tags the part with: its MD5, or what its put was answered with. Empty until one of them is known.
    public var etag: String

    public init(number: Int, size: UInt64, sha256: String, etag: String = "") {
        self.number = number
        self.size = size
        self.sha256 = sha256
        self.etag = etag
    }
}
