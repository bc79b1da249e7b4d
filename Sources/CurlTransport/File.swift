// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Glibc
import OutboundHTTP

/// An open file, closed by its owner's end. Reads and writes are positioned.
final class File {
    private let descriptor: CInt
    private var isOpen = true

    private init(descriptor: CInt) {
        self.descriptor = descriptor
    }

    deinit {
        if isOpen { close(descriptor) }
    }

    static func openForReading(_ path: String) throws(Failure) -> File {
        try open(path, flags: O_RDONLY | O_CLOEXEC)
    }

    /// Creates the file where there is none, readable by its owner alone.
    static func openForWriting(_ path: String) throws(Failure) -> File {
        try open(path, flags: O_WRONLY | O_CREAT | O_CLOEXEC)
    }

    private static func open(_ path: String, flags: CInt) throws(Failure) -> File {
        while true {
            let descriptor = Glibc.open(path, flags, 0o600)
            if descriptor >= 0 { return File(descriptor: descriptor) }
            let number = errno
            if number != EINTR { throw failure("opening \"\(path)\"", number) }
        }
    }

    /// Nil for what is not a regular file and so has no size.
    func regularSize() throws(Failure) -> UInt64? {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.failure("reading the size of the file", errno) }
        return status.st_mode & S_IFMT == S_IFREG ? UInt64(status.st_size) : nil
    }

    func truncate(to size: UInt64) throws(Failure) {
        while ftruncate(descriptor, off_t(clamping: size)) != 0 {
            let number = errno
            if number != EINTR { throw Self.failure("cutting the file to \(size) bytes", number) }
        }
    }

    /// At most `buffer.count` bytes from `offset`; 0 at the file's end.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Failure) -> Int {
        while true {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(clamping: offset))
            if count >= 0 { return count }
            let number = errno
            if number != EINTR { throw Self.failure("reading the file", number) }
        }
    }

    /// Writes from `buffer` what the file takes, 1 byte at least.
    func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure) -> Int {
        while true {
            let count = pwrite(descriptor, buffer.baseAddress, buffer.count, off_t(clamping: offset))
            if count > 0 { return count }
            let number = count == 0 ? EIO : errno
            if number != EINTR { throw Self.failure("writing the file", number) }
        }
    }

    /// Closes now, so that an error that the system kept until here is not lost.
    func finish() throws(Failure) {
        isOpen = false
        // Not repeated on EINTR: on Linux the descriptor is gone either way.
        if close(descriptor) != 0, errno != EINTR { throw Self.failure("closing the file", errno) }
    }

    private static func failure(_ doing: String, _ number: CInt) -> Failure {
        let isFull = number == ENOSPC || number == EDQUOT
        return Failure(code: isFull ? .diskFull : .file, reason: "\(doing): \(String(cString: strerror(number)))")
    }
}
