// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import HummingbirdCore
import NIOCore

/// `/upload/{key}/{uid}`: takes one upload without a token, as a form or as a bare body.
struct UploadRoutes: SandboxArea {
    let library: StreamLibrary
    let worker: VideoWorker
    let clock: any WallClock

    func faultRoutes(of request: SandboxRequest) -> Set<FaultRoute> { [.upload] }

    func faultAnswer(status: Int, code: String?) -> SandboxResponse {
        Self.refusal(HTTPResponse.Status(code: status), "fault \(status)")
    }

    func respond(to request: SandboxRequest, beforeBody: () async throws -> Void) async throws -> SandboxResponse {
        guard request.method == .post || request.method == .put else {
            return Self.refusal(.methodNotAllowed, "Upload with POST")
        }
        let segments = request.segments
        guard segments.count == 3, let video = library.video(segments[2]),
            video.origin == .directUpload(key: segments[1])
        else { return Self.refusal(.notFound, "There is no such upload URL") }
        guard video.arrival == .awaited else { return Self.refusal(.conflict, "The file is uploaded already") }
        if let expiry = video.uploadExpiry, clock.now() > expiry {
            return Self.refusal(.gone, "The upload URL has expired")
        }
        do {
            try await beforeBody()
            try await UploadBody.store(request, as: video.uid, in: library, worker: worker)
            return SandboxResponse(status: .ok)
        } catch let failure as StreamFailure {
            return Self.refusal(HTTPResponse.Status(code: failure.status), failure.message)
        }
    }

    private static func refusal(_ status: HTTPResponse.Status, _ message: String) -> SandboxResponse {
        SandboxResponse(status: status, contentType: "text/plain; charset=UTF-8", text: message + "\n")
    }
}

/// Stores the file in a request's body.
enum UploadBody {
    /// Throws `StreamFailure` for a body without a file in it, and `ConnectionCut`.
    static func store(
        _ request: SandboxRequest, as uid: String, in library: StreamLibrary, worker: VideoWorker
    ) async throws {
        let receipt: FileIntake.Receipt
        do {
            if let boundary = boundary(in: request.headers[.contentType]) {
                receipt = try await worker.store(FormFile(body: request.body, boundary: boundary), as: uid)
            } else {
                receipt = try await worker.store(request.body, as: uid)
            }
        } catch let cut as ConnectionCut {
            throw cut
        } catch is FormFile.NoFile {
            throw StreamFailure.badRequest("the form has no file in it")
        } catch {
            throw StreamFailure.badRequest("the upload broke off")
        }
        guard receipt.bytes > 0 else {
            throw StreamFailure(status: 400, code: 10059, message: "The file was not recognized as a valid video file.")
        }
        library.arrived(uid, receipt)
        worker.enqueue(uid)
    }

    private static func boundary(in contentType: String?) -> String? {
        guard let contentType, contentType.lowercased().hasPrefix("multipart/form-data"),
            let mark = contentType.firstRange(of: "boundary=")
        else { return nil }
        return String(contentType[mark.upperBound...].prefix { $0 != ";" }).replacing("\"", with: "")
    }
}

/// The first file in a multipart/form-data body, as a stream.
struct FormFile: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    /// The body ended before a file did.
    struct NoFile: Error {}

    let body: RequestBody
    let boundary: String

    struct AsyncIterator: AsyncIteratorProtocol {
        private var body: RequestBody.AsyncIterator
        private let delimiter: [UInt8]
        private var held: ByteBuffer
        private var isInFile = false
        private var isDone = false

        init(_ form: FormFile) {
            body = form.body.makeAsyncIterator()
            delimiter = Array("\r\n--\(form.boundary)".utf8)
            // The first delimiter has no line break before it.
            held = ByteBuffer(string: "\r\n")
        }

        mutating func next() async throws -> ByteBuffer? {
            if !isInFile { try await findFile() }
            while !isDone {
                if let end = held.index(of: delimiter, from: held.readerIndex) {
                    isDone = true
                    return held.readSlice(length: end - held.readerIndex)
                }
                // The end of what is here may be the beginning of the delimiter.
                let safe = held.readableBytes - delimiter.count
                if safe > 0 { return held.readSlice(length: safe) }
                try await readMore()
            }
            return nil
        }

        /// Drops everything before the first byte of the first part that has a file name.
        private mutating func findFile() async throws {
            let headEndMark = Array("\r\n\r\n".utf8)
            while !isInFile {
                guard let start = held.index(of: delimiter, from: held.readerIndex),
                    let end = held.index(of: headEndMark, from: start + delimiter.count)
                else {
                    try await readMore()
                    continue
                }
                held.moveReaderIndex(to: start + delimiter.count)
                let head = held.readString(length: end - held.readerIndex) ?? ""
                held.moveReaderIndex(forwardBy: headEndMark.count)
                isInFile = head.lowercased().contains("filename=")
            }
        }

        private mutating func readMore() async throws {
            guard var buffer = try await body.next(isolation: #isolation) else { throw NoFile() }
            held.discardReadBytes()
            held.writeBuffer(&buffer)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }
}

extension ByteBuffer {
    /// Where a pattern begins at or behind an index.
    fileprivate func index(of pattern: [UInt8], from index: Int) -> Int? {
        guard index < writerIndex, let first = pattern.first else { return nil }
        var view = readableBytesView[index...]
        while let found = view.firstIndex(of: first) {
            if view[found...].starts(with: pattern) { return found }
            view = view[(found + 1)...]
        }
        return nil
    }
}
