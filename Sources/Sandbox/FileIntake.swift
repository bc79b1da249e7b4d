// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import NIOCore
import ObjectStorage
import _NIOFileSystem

/// Writes a stream of bytes to a new file and says what passed.
struct FileIntake {
    typealias Chunk = ByteBuffer

    struct Receipt: Sendable {
        var bytes: UInt64
        var md5: [UInt8]
        var sha256: [UInt8]
        /// Only where it was asked for, for it is the slow one.
        var crc32: UInt32?
    }

    /// More bytes came than were announced.
    struct TooLong: Error {}

    /// The file is removed again when anything goes wrong.
    @concurrent
    static func write<Body: AsyncSequence & Sendable>(
        _ body: Body, to path: String, bytesMax: UInt64 = .max, wantsCRC32: Bool = false
    ) async throws -> Receipt where Body.Element == ByteBuffer {
        do {
            return try await FileSystem.shared.withFileHandle(
                forWritingAt: FilePath(path), options: .newFile(replaceExisting: true)
            ) { handle in
                var digest = Digest(wantsCRC32: wantsCRC32)
                var offset: UInt64 = 0
                for try await buffer in body {
                    offset += UInt64(buffer.readableBytes)
                    guard offset <= bytesMax else { throw TooLong() }
                    let bytes = Array(buffer.readableBytesView)
                    digest.update(bytes)
                    try await handle.write(
                        contentsOf: bytes, toAbsoluteOffset: Int64(offset) - Int64(bytes.count))
                }
                return digest.receipt(bytes: offset)
            }
        } catch {
            DataFolder.remove(path)
            throw error
        }
    }

    static func digest(of bytes: [UInt8]) -> Receipt {
        var digest = Digest(wantsCRC32: false)
        digest.update(bytes)
        return digest.receipt(bytes: UInt64(bytes.count))
    }

    private struct Digest {
        private var md5 = Insecure.MD5()
        private var sha256 = SHA256()
        private var crc32: CRC32?

        init(wantsCRC32: Bool) { crc32 = wantsCRC32 ? CRC32() : nil }

        mutating func update(_ bytes: [UInt8]) {
            md5.update(data: bytes)
            sha256.update(data: bytes)
            crc32?.update(bytes)
        }

        func receipt(bytes: UInt64) -> Receipt {
            Receipt(
                bytes: bytes, md5: Array(md5.finalize()), sha256: Array(sha256.finalize()), crc32: crc32?.value)
        }
    }
}

/// A file's bytes as a stream.
struct FileBytes: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    let slices: [FileSlice]
    private static let chunkBytes: UInt64 = 1 << 20

    struct AsyncIterator: AsyncIteratorProtocol {
        var slices: ArraySlice<FileSlice>

        mutating func next() async throws -> ByteBuffer? {
            while let slice = slices.first, slice.length == 0 { slices.removeFirst() }
            guard let slice = slices.first else { return nil }
            let count = Swift.min(slice.length, FileBytes.chunkBytes)
            let chunk = try await FileSystem.shared.withFileHandle(forReadingAt: FilePath(slice.path)) { handle in
                try await handle.readChunk(fromAbsoluteOffset: Int64(slice.offset), length: .bytes(Int64(count)))
            }
            guard chunk.readableBytes > 0 else { return nil }
            slices[slices.startIndex].offset += UInt64(chunk.readableBytes)
            slices[slices.startIndex].length -= UInt64(chunk.readableBytes)
            return chunk
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(slices: slices[...]) }
}

/// The checksum that S3 clients send as `x-amz-checksum-crc32`.
struct CRC32: Sendable {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in
            value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1
        }
    }

    private var state: UInt32 = .max

    var value: UInt32 { ~state }

    mutating func update(_ bytes: [UInt8]) {
        let table = Self.table
        var state = state
        var index = 0
        // A plain loop: in a build without optimisation an iterator takes four times as long.
        while index < bytes.count {
            state =
                table[Int(truncatingIfNeeded: state ^ UInt32(truncatingIfNeeded: bytes[index])) & 0xFF] ^ (state >> 8)
            index &+= 1
        }
        self.state = state
    }
}
