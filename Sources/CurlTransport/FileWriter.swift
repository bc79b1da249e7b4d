// clipbridge
// SPDX-License-Identifier: Apache-2.0

import OutboundHTTP

/// Gathers what arrives in pieces of 16 KiB, which is as much as libcurl hands over at a time, into writes that end
/// where a multiple of their size does.
///
/// The pieces follow a response's head and so lie across the file's pages: written one by one, each costs the kernel a
/// page that it has to clear and fill twice, which came to four tenths of a whole transfer's CPU time (see
/// `TransferBuffers.fileWrite`).
final class FileWriter {
    /// What arrives slowly is written after this long.
    private static let delayMax = Duration.milliseconds(100)

    private let file: File
    private let buffer = UnsafeMutableRawBufferPointer.allocate(
        byteCount: TransferBuffers.fileWrite, alignment: MemoryLayout<UInt>.alignment)
    private let offset: UInt64
    private let observer: (any FileObserver)?
    /// Of the buffer.
    private var count = 0
    private var flushedAt = ContinuousClock.now
    private(set) var bytesWritten: UInt64 = 0

    init(_ file: File, offset: UInt64, observer: (any FileObserver)?) {
        self.file = file
        self.offset = offset
        self.observer = observer
    }

    deinit {
        buffer.deallocate()
    }

    /// Of the file, once everything is written.
    var end: UInt64 { offset + bytesWritten + UInt64(count) }
    var hasUnwritten: Bool { count > 0 }

    func append(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        var rest = bytes
        while !rest.isEmpty {
            let room = buffer.count - Int((offset + bytesWritten) % UInt64(buffer.count)) - count
            let taken = min(room, rest.count)
            UnsafeMutableRawBufferPointer(rebasing: buffer[count..<(count + taken)])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<taken]))
            count += taken
            rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
            if taken == room { try flush() }
        }
        if count > 0, .now - flushedAt > Self.delayMax { try flush() }
    }

    func flush() throws(Failure) {
        flushedAt = .now
        var done = 0
        defer {
            // What a full disk did not take is not tried again: the transfer ends.
            count = 0
        }
        while done < count {
            let rest = UnsafeRawBufferPointer(rebasing: buffer[done..<count])
            let written = try file.write(rest, at: offset + bytesWritten)
            observer?.wrote(UnsafeRawBufferPointer(rebasing: rest[..<written]).bytes, at: offset + bytesWritten)
            bytesWritten += UInt64(written)
            done += written
        }
    }

    func finish() throws(Failure) {
        try flush()
        try file.finish()
    }
}
