// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOConcurrencyHelpers
package import OutboundHTTP

/// An `HTTPTransport` without a network: a closure answers, and every request is kept.
///
/// It treats sinks and meters as the real one does, so that what is tested above it sees files and limits too.
package final class FakeTransport: HTTPTransport {
    package typealias Answer = @Sendable (OutboundRequest) async throws(TransferError) -> OutboundResponse

    private let answer: Answer
    private let kept = NIOLockedValueBox<[OutboundRequest]>([])

    package init(_ answer: @escaping Answer) {
        self.answer = answer
    }

    /// Gives these answers in turn; one request more than there are gets `.other`.
    package convenience init(answers: [OutboundResponse]) {
        let left = NIOLockedValueBox(answers[...])
        self.init { _ throws(TransferError) in
            guard let next = left.withLockedValue({ $0.popFirst() }) else {
                throw TransferError(code: .other, message: "no answer is left")
            }
            return next
        }
    }

    /// All requests so far, in the order in which they were sent.
    package var requests: [OutboundRequest] { kept.withLockedValue { $0 } }

    package func send(_ request: OutboundRequest) async throws(TransferError) -> OutboundResponse {
        if Task.isCancelled { throw TransferError(code: .cancelled, message: "the request was cancelled") }
        kept.withLockedValue { $0.append(request) }
        let response = try await answer(request)
        request.meter?.addSent(request.body.bytesCount)
        let delivered = try deliver(response, to: request.sink)
        // Behind the bytes: whoever reads the meter may read as much of the file. What is kept out of it does not
        // count.
        if case .memory = request.sink { request.meter?.addReceived(response.body.count) }
        request.meter?.addReceived(Int(delivered.bytesWritten ?? 0))
        return delivered
    }

    private func deliver(
        _ response: OutboundResponse,
        to sink: ResponseSink
    ) throws(TransferError) -> OutboundResponse {
        switch sink {
        case .memory(let bytesMax):
            guard response.body.count <= bytesMax else { throw tooLarge(response, bytesMax: UInt64(bytesMax)) }
            return response
        case .file(let sink):
            switch sink.place(response.head) {
            case .collect:
                return OutboundResponse(head: response.head, body: Array(response.body.prefix(64 << 10)))
            case .refuse:
                throw TransferError(code: .refused, message: "the answer's head was refused")
            case .write(let offset):
                let end = offset + UInt64(response.body.count)
                guard end <= sink.fileBytesMax else { throw tooLarge(response, bytesMax: sink.fileBytesMax) }
                try write(response.body, to: sink.path, at: offset)
                // The span does not outlive its array.
                unsafe sink.observer?.wrote(response.body.span.bytes, at: offset)
                return OutboundResponse(head: response.head, bytesWritten: UInt64(response.body.count))
            }
        }
    }

    private func write(_ bytes: [UInt8], to path: String, at offset: UInt64) throws(TransferError) {
        do {
            if !FileManager.default.fileExists(atPath: path) {
                _ = FileManager.default.createFile(atPath: path, contents: nil)
            }
            let file = try FileHandle(forUpdating: URL(filePath: path))
            defer { try? file.close() }
            try file.truncate(atOffset: offset)
            try file.seek(toOffset: offset)
            try file.write(contentsOf: Data(bytes))
        } catch {
            throw TransferError(code: .file, message: "file \"\(path)\" can not be written: \(error)")
        }
    }

    private func tooLarge(_ response: OutboundResponse, bytesMax: UInt64) -> TransferError {
        TransferError(
            code: .bodyTooLarge,
            message: "the answer has more than \(bytesMax) bytes",
            bytesReceived: UInt64(response.body.count)
        )
    }
}

extension OutboundBody {
    fileprivate var bytesCount: Int {
        switch self {
        case .none: 0
        case .bytes(let bytes): bytes.count
        case .file(_, _, let length): Int(length)
        }
    }

    /// What a transport would send, read from the file where it is in one.
    package func content() throws -> [UInt8] {
        switch self {
        case .none: return []
        case .bytes(let bytes): return bytes
        case .file(let path, let offset, let length):
            let file = try FileHandle(forReadingFrom: URL(filePath: path))
            defer { try? file.close() }
            try file.seek(toOffset: offset)
            return [UInt8](try file.read(upToCount: Int(length)) ?? Data())
        }
    }
}
