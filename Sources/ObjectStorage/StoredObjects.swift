// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// What HEAD says of an object.
package struct ObjectHead: Sendable, Equatable {
    package var size: UInt64
    /// Without quotes.
    package var etag: String?
    package var contentType: String?

    package init(size: UInt64, etag: String? = nil, contentType: String? = nil) {
        self.size = size
        self.etag = etag
        self.contentType = contentType
    }
}

/// A part that the storage holds of an upload.
package struct UploadedPart: Sendable, Equatable {
    package var number: Int
    package var size: UInt64
    /// Without quotes.
    package var etag: String

    package init(number: Int, size: UInt64, etag: String) {
        self.number = number
        self.size = size
        self.etag = etag
    }
}

/// A part as the completion of its upload names it.
package struct CompletedPart: Sendable, Equatable {
    package var number: Int
    package var etag: String

    package init(number: Int, etag: String) {
        self.number = number
        self.etag = etag
    }
}

/// A multipart upload that is neither complete nor aborted.
package struct MultipartUpload: Sendable, Equatable {
    package var key: String
    package var uploadID: String
    package var initiated: Timestamp?

    package init(key: String, uploadID: String, initiated: Timestamp? = nil) {
        self.key = key
        self.uploadID = uploadID
        self.initiated = initiated
    }
}
