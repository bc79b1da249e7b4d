// clipbridge
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import NIOCore

/// An answer before it is written.
struct SandboxResponse: Sendable {
    enum Payload: Sendable {
        case none
        case bytes([UInt8])
        /// Pieces of files, one after the other.
        case slices([FileSlice])
    }

    var status: HTTPResponse.Status
    var headers: HTTPFields
    var payload: Payload
    /// Told of every piece of body that was written.
    var onWritten: (@Sendable (Int) -> Void)?

    init(status: HTTPResponse.Status, headers: HTTPFields = [:], payload: Payload = .none) {
        self.status = status
        self.headers = headers
        self.payload = payload
    }

    init(status: HTTPResponse.Status, contentType: String, text: String, headers: HTTPFields = [:]) {
        self.init(status: status, headers: headers, payload: .bytes(Array(text.utf8)))
        self.headers[.contentType] = contentType
    }

    var contentLength: UInt64 {
        switch payload {
        case .none: 0
        case .bytes(let bytes): UInt64(bytes.count)
        case .slices(let slices): slices.reduce(0) { $0 + $1.length }
        }
    }
}

/// A piece of a file.
struct FileSlice: Sendable, Equatable {
    var path: String
    var offset: UInt64
    var length: UInt64
}

extension [FileSlice] {
    /// The part of the whole from `offset` on, `length` bytes long.
    func part(offset: UInt64, length: UInt64) -> [FileSlice] {
        var skip = offset
        var left = length
        var part: [FileSlice] = []
        for slice in self where left > 0 {
            guard skip < slice.length else {
                skip -= slice.length
                continue
            }
            let count = Swift.min(slice.length - skip, left)
            part.append(FileSlice(path: slice.path, offset: slice.offset + skip, length: count))
            left -= count
            skip = 0
        }
        return part
    }
}
