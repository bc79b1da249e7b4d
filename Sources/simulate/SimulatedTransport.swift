// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers
import OutboundHTTP

/// A replica's way to the services outside, which loses, delays and breaks what goes over it.
struct SimulatedTransport: HTTPTransport {
    let life: Life
    let world: WorldState
    let upstream: Upstream

    func send(_ request: OutboundRequest) async throws(TransferError) -> OutboundResponse {
        do {
            return try await exchange(changed(request))
        } catch let error as TransferError {
            throw error
        } catch {
            throw TransferError(code: .cancelled, message: "the exchange was cancelled")
        }
    }

    private func changed(_ request: OutboundRequest) -> OutboundRequest {
        var request = request
        switch world.scenario.variant {
        case .dropIfRange: request.headers[.ifRange] = nil
        case .unsignedPayload where request.headers[.contentHash] != nil:
            request.headers[.contentHash] = "UNSIGNED-PAYLOAD"
        default: break
        }
        return request
    }

    private func exchange(_ request: OutboundRequest) async throws -> OutboundResponse {
        let call = upstream.begin(request, by: life)
        try await life.pass()
        try Task.checkCancellation()
        try await world.clock.sleep(for: world.dice.duration(0.001...0.1))
        try await life.pass()
        if world.strikes(.reset) { throw TransferError(code: .reset, message: "reset by the peer") }
        let body = try request.body.content()
        var answer = refusal(of: call) ?? upstream.answer(call, body)
        if world.scenario.variant == .sendTwice, request.method == .post {
            answer = upstream.answer(call, body)
        }
        request.meter?.addSent(body.count)
        if request.method == .head { answer.body = [] }
        world.note("\(life.owner) \(request.method) \(call.path) \(answer.status)")
        try await world.clock.sleep(for: world.dice.duration(0.001...0.1))
        try await life.pass()
        if request.method != .get, world.strikes(.lostAnswer) {
            throw TransferError(code: .timeout, message: "no answer in time")
        }
        if world.scenario.variant == .dropRetryAfter, call.service != .stream { answer.headers[.retryAfter] = nil }
        let response = try await deliver(answer, to: request, call)
        upstream.end(call, answer, life)
        return response
    }

    private func refusal(of call: Upstream.Call) -> Upstream.Answer? {
        if world.strikes(.serverError) { return Upstream.Answer(world.dice.pick([500, 502, 503])) }
        guard world.strikes(.limited) else { return nil }
        var answer = Upstream.Answer(429)
        answer.headers[.retryAfter] = String(world.dice.int(1...20))
        return answer
    }

    // MARK: The answer's body

    private func deliver(
        _ answer: Upstream.Answer, to request: OutboundRequest, _ call: Upstream.Call
    ) async throws -> OutboundResponse {
        let length = answer.contentLength ?? UInt64(answer.body.count)
        let head = ResponseHead(status: answer.status, headers: answer.headers, contentLength: length)
        guard case .file(let sink) = request.sink else {
            if !answer.body.isEmpty, world.strikes(.truncation) {
                throw TransferError(code: .bodyTruncated, message: "the body ended early")
            }
            return OutboundResponse(head: head, body: answer.body)
        }
        switch sink.place(head) {
        case .collect: return OutboundResponse(head: head, body: Array(answer.body.prefix(64 << 10)))
        case .refuse: throw TransferError(code: .refused, message: "the body was not wanted")
        case .write(let offset): try await write(answer.body, to: sink, at: offset, call)
        }
        return OutboundResponse(head: head, bytesWritten: UInt64(answer.body.count))
    }

    private func write(_ body: [UInt8], to sink: FileSink, at offset: UInt64, _ call: Upstream.Call) async throws {
        let file = try SpoolWriter(sink.path, at: offset)
        defer { file.close() }
        let isSlow = world.strikes(.slowBody)
        let end = world.strikes(.truncation) ? world.dice.int(0...body.count) : body.count
        let pieces = body.count > 1 << 20 ? 1 << 20 : max(1, body.count / world.dice.int(1...6))
        var position = 0
        while position < end {
            try await world.clock.sleep(for: world.dice.duration(isSlow ? 1...9 : 0.001...0.3))
            try await life.pass(isDownload: true)
            try Task.checkCancellation()
            let piece = Array(body[position..<min(end, position + pieces)])
            try file.append(piece)
            upstream.media.served(piece.count, of: call)
            // The span does not outlive its array.
            unsafe sink.observer?.wrote(piece.span.bytes, at: offset + UInt64(position))
            position += piece.count
        }
        if end < body.count {
            // While nobody looks, which is when it matters.
            if world.strikes(.sourceChange, at: 0.3) { upstream.media.change(call) }
            throw TransferError(code: .bodyTruncated, message: "the body ended early")
        }
    }
}

/// Writes a download as the real transport does: first cut to its offset, then piece by piece.
private struct SpoolWriter {
    private let file: FileHandle

    init(_ path: String, at offset: UInt64) throws {
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        do {
            file = try FileHandle(forUpdating: URL(filePath: path))
            guard try file.seekToEnd() >= offset else {
                throw TransferError(code: .file, message: "the file is shorter than the offset \(offset)")
            }
            try file.truncate(atOffset: offset)
        } catch let error as TransferError {
            throw error
        } catch {
            throw TransferError(code: .file, message: "file \"\(path)\" can not be written: \(error)")
        }
    }

    func append(_ bytes: [UInt8]) throws {
        do {
            try file.write(contentsOf: Data(bytes))
        } catch {
            throw TransferError(code: .file, message: "the file can not be written: \(error)")
        }
    }

    func close() { try? file.close() }
}

extension HTTPField.Name {
    static let retryAfter = HTTPField.Name("Retry-After")!  // A literal of token characters.
    static let contentHash = HTTPField.Name("x-amz-content-sha256")!  // A literal of token characters.
}
