// clipbridge
// SPDX-License-Identifier: Apache-2.0

import OutboundHTTP

/// Takes a response's body to where the request wants it, within its limits.
struct ResponseBodyWriter {
    /// What is kept of a body that did not belong in the file: enough for an error's text.
    static let collectedBytesMax = 64 * 1024
    /// Room made ahead of the bytes on a server's word alone.
    private static let reservedBytesMax = 1 << 20

    private enum Target {
        case undecided
        case memory(bytesMax: Int)
        case collect
        case file(FileWriter, fileBytesMax: UInt64)
    }

    private let sink: ResponseSink
    private var target = Target.undecided
    private(set) var collected: [UInt8] = []
    /// Bytes that arrived where there is no file.
    private var bytesCollected: UInt64 = 0

    init(_ sink: ResponseSink) {
        self.sink = sink
    }

    /// Bytes that reached the file, or that arrived where there is none.
    var bytesReceived: UInt64 { bytesWritten ?? bytesCollected }

    /// Bytes that are where the request wanted them: an error's body, which is kept out of the file, is not.
    var bytesInPlace: UInt64 {
        if case .file = sink { bytesWritten ?? 0 } else { bytesCollected }
    }

    /// Nil when the body was collected.
    var bytesWritten: UInt64? {
        if case .file(let file, _) = target { file.bytesWritten } else { nil }
    }

    /// Whether something arrived that is not in the file yet.
    var hasUnwritten: Bool {
        if case .file(let file, _) = target { file.hasUnwritten } else { false }
    }

    /// Decides from the final head. `hasBody` is false for an answer to HEAD, whose length is somebody else's.
    mutating func begin(_ head: ResponseHead, hasBody: Bool) throws(Failure) {
        let announced = hasBody ? head.contentLength ?? 0 : 0
        switch sink {
        case .memory(let bytesMax):
            guard announced <= UInt64(max(0, bytesMax)) else { throw Self.tooLarge(announced, bytesMax) }
            collected.reserveCapacity(min(Int(announced), Self.reservedBytesMax))
            target = .memory(bytesMax: bytesMax)
        case .file(let sink):
            switch sink.place(head) {
            case .collect:
                target = .collect
            case .refuse:
                throw Failure(code: .refused, reason: "the body was not wanted")
            case .write(let offset):
                try openFile(sink, offset: offset, announced: announced)
            }
        }
    }

    private mutating func openFile(_ sink: FileSink, offset: UInt64, announced: UInt64) throws(Failure) {
        guard offset <= sink.fileBytesMax, announced <= sink.fileBytesMax - offset else {
            throw Self.tooLarge(offset.addingReportingOverflow(announced).partialValue, sink.fileBytesMax)
        }
        let file = try File.openForWriting(sink.path)
        if let size = try file.regularSize() {
            // Cutting would make such a file longer, with a hole where bytes are believed to be.
            guard size >= offset else {
                throw Failure(code: .file, reason: "the file has \(size) bytes, fewer than the offset \(offset)")
            }
            // Not where there is nothing to cut: a file that was cut to nothing is written to the disk by ext4 as soon
            // as it is closed (auto_da_alloc), where most downloads are gone before the disk's turn comes.
            if size > offset { try file.truncate(to: offset) }
        }
        target = .file(FileWriter(file, offset: offset, observer: sink.observer), fileBytesMax: sink.fileBytesMax)
    }

    mutating func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        switch target {
        case .undecided:
            throw Failure(code: .protocolError, reason: "a body came without a response head")
        case .memory(let bytesMax):
            guard collected.count + bytes.count <= bytesMax else {
                throw Self.tooLarge(bytesCollected + UInt64(bytes.count), bytesMax)
            }
            collected.append(contentsOf: bytes)
            bytesCollected += UInt64(bytes.count)
        case .collect:
            collected.append(contentsOf: bytes.prefix(Self.collectedBytesMax - collected.count))
            bytesCollected += UInt64(bytes.count)
        case .file(let file, let fileBytesMax):
            let end = file.end + UInt64(bytes.count)
            guard end <= fileBytesMax else { throw Self.tooLarge(end, fileBytesMax) }
            try file.append(bytes)
        }
    }

    /// Brings to the file what has arrived.
    func flush() throws(Failure) {
        if case .file(let file, _) = target { try file.flush() }
    }

    func finish() throws(Failure) {
        if case .file(let file, _) = target { try file.finish() }
    }

    private static func tooLarge(_ bytes: UInt64, _ bytesMax: some BinaryInteger) -> Failure {
        Failure(
            code: .bodyTooLarge,
            reason:
                "the body reaches \(grouped(bytes)) bytes and at most \(grouped(UInt64(clamping: bytesMax))) are taken"
        )
    }
}

/// `41943040` as `41,943,040`.
func grouped(_ number: UInt64) -> String {
    var text = ""
    for (index, digit) in String(number).reversed().enumerated() {
        if index > 0, index % 3 == 0 { text.append(",") }
        text.append(digit)
    }
    return String(text.reversed())
}
