// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Dispatch
import Foundation
import Synchronization

/// The hashes of a file's range: what a put is signed with and what its ETag should be.
package struct FileDigest: Sendable, Equatable {
    /// Hexadecimal.
    package var sha256: String
    /// Hexadecimal.
    package var md5: String
    package var length: UInt64

    /// Of bytes that are in memory already.
    package init(of bytes: [UInt8]) {
        let data = Data(bytes)
        sha256 = hexadecimal(SHA256.hash(data: data))
        md5 = hexadecimal(Insecure.MD5.hash(data: data))
        length = UInt64(bytes.count)
    }

    private init(sha256: SHA256, md5: Insecure.MD5, length: UInt64) {
        self.sha256 = hexadecimal(sha256.finalize())
        self.md5 = hexadecimal(md5.finalize())
        self.length = length
    }

    /// Both hashes of `length` bytes from `offset`, or to the end of the file where `length` is nil.
    ///
    /// It runs on a dispatch queue, because reading and hashing block, and ends with `CancellationError` soon after
    /// the task is cancelled. A range that the file does not hold throws `ObjectStorageError` with code `.file`.
    package static func ofFile(
        _ path: String,
        offset: UInt64 = 0,
        length: UInt64? = nil
    ) async throws -> FileDigest {
        try await reading(path, offset: offset, length: length) { range in
            var sha256 = SHA256()
            var md5 = Insecure.MD5()
            let length = try range.forEach {
                sha256.update(data: $0)
                md5.update(data: $0)
            }
            return FileDigest(sha256: sha256, md5: md5, length: length)
        }
    }

    /// The hexadecimal SHA-256 alone, at a third of the cost: MD5 has no instruction of its own. See `ofFile`.
    package static func sha256(ofFile path: String, offset: UInt64, length: UInt64) async throws -> String {
        try await reading(path, offset: offset, length: length) { range in
            var sha256 = SHA256()
            _ = try range.forEach { sha256.update(data: $0) }
            return hexadecimal(sha256.finalize())
        }
    }

    // MARK: Reading

    /// Runs `body`, only then reads what it has asked for, and returns when all is read: for whoever has to know when
    /// that is.
    package static func readingAfterwards<Value>(_ body: () -> Value) -> Value {
        queue.suspend()
        let value = body()
        queue.resume()
        queue.sync(flags: .barrier) {}
        return value
    }

    private static let queue = DispatchQueue(label: "clipbridge.file-digest", attributes: .concurrent)

    private static func reading<Value: Sendable>(
        _ path: String, offset: UInt64, length: UInt64?, _ body: @escaping @Sendable (FileRange) throws -> Value
    ) async throws -> Value {
        let isCancelled = CancellationFlag()
        let range = FileRange(path: path, offset: offset, length: length, isCancelled: isCancelled)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                queue.async { continuation.resume(with: Result { try body(range) }) }
            }
        } onCancel: {
            isCancelled.value.store(true, ordering: .relaxed)
        }
    }
}

private final class CancellationFlag: Sendable {
    let value = Atomic<Bool>(false)
}

/// A stretch of a file that is read piece by piece.
private struct FileRange: Sendable {
    /// Stays in a processor's second cache between reading and hashing.
    private static let pieceBytes = 256 << 10

    let path: String
    let offset: UInt64
    /// Nil for all that is there.
    let length: UInt64?
    let isCancelled: CancellationFlag

    /// - Returns: how many bytes there were.
    func forEach(_ body: (Data) -> Void) throws -> UInt64 {
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw ObjectStorageError(code: .file, message: "file \"\(path)\" can not be opened for reading")
        }
        defer { try? file.close() }
        do {
            try file.seek(toOffset: offset)
            return try read(file, body)
        } catch let error as CocoaError {
            throw ObjectStorageError(
                code: .file,
                message: "reading file \"\(path)\" stopped: \(error.localizedDescription)"
            )
        }
    }

    private func read(_ file: FileHandle, _ body: (Data) -> Void) throws -> UInt64 {
        var done: UInt64 = 0
        while length.map({ done < $0 }) ?? true {
            if isCancelled.value.load(ordering: .relaxed) { throw CancellationError() }
            let wanted = length.map { Int(min(UInt64(Self.pieceBytes), $0 - done)) } ?? Self.pieceBytes
            guard let data = try file.read(upToCount: wanted), !data.isEmpty else { break }
            body(data)
            done += UInt64(data.count)
        }
        if let length, done < length {
            throw ObjectStorageError(
                code: .file,
                message: "file \"\(path)\" ended \(length - done) bytes before the end of the wanted range"
            )
        }
        return done
    }
}
