// clipbridge
// SPDX-License-Identifier: Apache-2.0

import OutboundHTTP

/// Hands a request's body out piece by piece, and again from the start where libcurl asks for it: a kept connection
/// that turns out dead is replaced, and the body is sent anew.
struct RequestBodyReader {
    private enum Source {
        case memory([UInt8])
        case file(File, offset: UInt64)
    }

    let length: UInt64
    private let source: Source
    private(set) var position: UInt64 = 0
    /// The furthest position so far: what is read again after a rewind is not counted twice.
    private var furthest: UInt64 = 0

    init(_ body: OutboundBody) throws(Failure) {
        switch body {
        case .none:
            source = .memory([])
            length = 0
        case .bytes(let bytes):
            source = .memory(bytes)
            length = UInt64(bytes.count)
        case .file(let path, let offset, let length):
            let file = try File.openForReading(path)
            if let size = try file.regularSize(), size < offset || size - offset < length {
                throw Self.tooShort(wanted: length, from: offset, has: size)
            }
            source = .file(file, offset: offset)
            self.length = length
        }
    }

    /// Fills `buffer` as far as the body reaches and returns the count of bytes that had not been read before.
    mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(Failure) -> (count: Int, new: Int) {
        let wanted = Int(min(UInt64(buffer.count), length - position))
        guard wanted > 0 else { return (0, 0) }
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
        let count: Int
        switch source {
        case .memory(let bytes):
            let start = Int(position)
            bytes.withUnsafeBytes { target.copyMemory(from: .init(rebasing: $0[start..<(start + wanted)])) }
            count = wanted
        case .file(let file, let offset):
            count = try file.read(into: target, at: offset + position)
            if count == 0 { throw Self.tooShort(wanted: length, from: offset, has: offset + position) }
        }
        position += UInt64(count)
        let new = position > furthest ? position - furthest : 0
        furthest = max(furthest, position)
        return (count, Int(new))
    }

    /// False for a position outside the body.
    mutating func seek(to position: Int64) -> Bool {
        guard let position = UInt64(exactly: position), position <= length else { return false }
        self.position = position
        return true
    }

    private static func tooShort(wanted: UInt64, from offset: UInt64, has size: UInt64) -> Failure {
        let reason = "the file ends at \(size) bytes, \(wanted) from \(offset) on were to be sent"
        return Failure(code: .file, reason: reason)
    }
}
