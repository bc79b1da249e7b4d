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

    /// Reads `length` bytes from `offset`, or to the end of the file where `length` is nil, a mebibyte at a time.
    ///
    /// It runs on a dispatch queue, because reading and hashing block, and ends with `CancellationError` soon after
    /// the task is cancelled. A range that the file does not hold throws `ObjectStorageError` with code `.file`.
    package static func ofFile(
        _ path: String,
        offset: UInt64 = 0,
        length: UInt64? = nil
    ) async throws -> FileDigest {
        let isCancelled = CancellationFlag()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                queue.async {
                    continuation.resume(
                        with: Result { try read(path, offset: offset, length: length, isCancelled: isCancelled) }
                    )
                }
            }
        } onCancel: {
            isCancelled.value.store(true, ordering: .relaxed)
        }
    }

    private static let queue = DispatchQueue(label: "clipbridge.file-digest", attributes: .concurrent)
    private static let readBytes = 1 << 20

    private final class CancellationFlag: Sendable {
        let value = Atomic<Bool>(false)
    }

    private static func read(
        _ path: String,
        offset: UInt64,
        length: UInt64?,
        isCancelled: CancellationFlag
    ) throws -> FileDigest {
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw ObjectStorageError(code: .file, message: "file \"\(path)\" can not be opened for reading")
        }
        defer { try? file.close() }
        do {
            try file.seek(toOffset: offset)
            return try read(file, path: path, length: length, isCancelled: isCancelled)
        } catch let error as CocoaError {
            throw ObjectStorageError(
                code: .file,
                message: "reading file \"\(path)\" stopped: \(error.localizedDescription)"
            )
        }
    }

    private static func read(
        _ file: FileHandle,
        path: String,
        length: UInt64?,
        isCancelled: CancellationFlag
    ) throws -> FileDigest {
        var sha256 = SHA256()
        var md5 = Insecure.MD5()
        var done: UInt64 = 0
        while length.map({ done < $0 }) ?? true {
            if isCancelled.value.load(ordering: .relaxed) { throw CancellationError() }
            let wanted = length.map { Int(min(UInt64(readBytes), $0 - done)) } ?? readBytes
            guard let data = try file.read(upToCount: wanted), !data.isEmpty else { break }
            sha256.update(data: data)
            md5.update(data: data)
            done += UInt64(data.count)
        }
        if let length, done < length {
            throw ObjectStorageError(
                code: .file,
                message: "file \"\(path)\" ended \(length - done) bytes before the end of the wanted range"
            )
        }
        return FileDigest(sha256: sha256, md5: md5, length: done)
    }
}
