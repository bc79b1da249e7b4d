// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import NIOConcurrencyHelpers
import NIOCore
import ObjectStorage

/// As much of S3 as an upload in parts needs, for one object, counting the bytes that it takes in. It checks no
/// signatures; the access key tells who sent what.
final class CountingStorage: Sendable {
    /// A request that brought a part or some of it.
    struct Put: Sendable {
        var number: Int
        var accessKey: String
        var bytes: UInt64 = 0
        /// It was whole, and is kept.
        var isStored = false
    }

    private struct Part: Sendable {
        var number: Int
        var path: String
        var size: UInt64
        var md5: String
    }

    private struct State: Sendable {
        var puts: [Put] = []
        var running = 0
        var uploadsOpened = 0
        var uploadID: String?
        var key = ""
        var parts: [Int: Part] = [:]
        var object: [Part] = []
    }

    static let bucket = "bucket"

    private let folder: String
    private let wire: Tripwire?
    private let state = NIOLockedValueBox(State())

    /// - Parameter folder: is there, and keeps what arrives.
    init(folder: String, wire: Tripwire? = nil) {
        self.folder = folder
        self.wire = wire
    }

    var puts: [Put] { state.withLockedValue(\.puts) }
    var bytes: UInt64 { puts.reduce(0) { $0 + $1.bytes } }
    var uploadsOpened: Int { state.withLockedValue(\.uploadsOpened) }
    /// An upload was neither completed nor aborted.
    var hasOpenUpload: Bool { state.withLockedValue { $0.uploadID != nil } }
    /// Nothing is being received.
    var isQuiet: Bool { state.withLockedValue { $0.running == 0 } }

    /// Of the object's bytes, as they were stored.
    func sha256() throws -> String {
        var hash = SHA256()
        for part in state.withLockedValue(\.object) {
            let file = try FileHandle(forReadingFrom: URL(filePath: part.path))
            defer { try? file.close() }
            while let bytes = try file.read(upToCount: 1 << 20), !bytes.isEmpty { hash.update(data: bytes) }
        }
        return hexadecimal(hash.finalize())
    }

    // MARK: Answers

    func answer(_ request: Request) async throws -> Response {
        let query = request.uri.queryParameters
        let isOfUpload = query["uploadId"] != nil
        if isOfUpload, query["uploadId"].map(String.init) != state.withLockedValue(\.uploadID) {
            return Self.error(.notFound, "NoSuchUpload")
        }
        switch request.method {
        case .head where request.uri.path == "/\(Self.bucket)": return Response(status: .ok)
        case .head: return head()
        case .get where isOfUpload: return listParts()
        case .get: return listUploads()
        case .post where isOfUpload: return try await complete(request)
        case .post: return open(request)
        case .put:
            guard isOfUpload, let number = query["partNumber"].flatMap({ Int($0) }) else { break }
            return try await put(request, number: number)
        case .delete where isOfUpload:
            state.withLockedValue { ($0.uploadID, $0.parts) = (nil, [:]) }
            return Response(status: .noContent)
        default: break
        }
        return Self.error(.notImplemented, "NotImplemented")
    }

    private static func xml(_ text: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/xml"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    private static func error(_ status: HTTPResponse.Status, _ code: String) -> Response {
        var response = xml("<Error><Code>\(code)</Code></Error>")
        response.status = status
        return response
    }

    private func head() -> Response {
        let object = state.withLockedValue(\.object)
        guard let etag = ETag.ofParts(object.map(\.md5)) else { return Response(status: .notFound) }
        let size = object.reduce(0) { $0 + $1.size }
        return Response(status: .ok, headers: [.contentLength: "\(size)", .eTag: "\"\(etag)\""])
    }

    private func listUploads() -> Response {
        let upload = state.withLockedValue { state in
            state.uploadID.map { "<Upload><Key>\(state.key)</Key><UploadId>\($0)</UploadId></Upload>" }
        }
        return Self.xml(
            "<ListMultipartUploadsResult>\(upload ?? "")<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")
    }

    private func open(_ request: Request) -> Response {
        let id = state.withLockedValue { state in
            state.uploadsOpened += 1
            let id = "upload-\(state.uploadsOpened)"
            (state.uploadID, state.parts) = (id, [:])
            state.key = String(request.uri.path.dropFirst("/\(Self.bucket)/".count))
            return id
        }
        return Self.xml(
            "<InitiateMultipartUploadResult><UploadId>\(id)</UploadId></InitiateMultipartUploadResult>")
    }

    private func listParts() -> Response {
        let parts = state.withLockedValue { $0.parts.values.sorted { $0.number < $1.number } }
        let text = parts.map { part in
            "<Part><PartNumber>\(part.number)</PartNumber><Size>\(part.size)</Size>"
                + "<ETag>&quot;\(part.md5)&quot;</ETag></Part>"
        }
        return Self.xml(
            "<ListPartsResult><IsTruncated>false</IsTruncated>\(text.joined())</ListPartsResult>")
    }

    private func complete(_ request: Request) async throws -> Response {
        let body = String(buffer: try await request.body.collect(upTo: 4 << 20))
        let named = body.matches(of: /<PartNumber>(\d+)<\/PartNumber><ETag>&quot;(\w+)&quot;<\/ETag>/)
        let etag = state.withLockedValue { state -> String? in
            let object = named.compactMap { name in
                Int(name.output.1).flatMap { state.parts[$0] }.flatMap { $0.md5 == name.output.2 ? $0 : nil }
            }
            guard object.count == named.count, let etag = ETag.ofParts(object.map(\.md5)) else { return nil }
            state.object = object
            (state.uploadID, state.parts) = (nil, [:])
            return etag
        }
        guard let etag else { return Self.error(.badRequest, "InvalidPart") }
        return Self.xml(
            "<CompleteMultipartUploadResult><ETag>&quot;\(etag)&quot;</ETag></CompleteMultipartUploadResult>")
    }

    // MARK: Parts

    private func put(_ request: Request, number: Int) async throws -> Response {
        let accessKey = request.headers[.authorization]?.firstMatch(of: /Credential=([^\/]+)\//)?.output.1
        let index = state.withLockedValue { state in
            state.running += 1
            state.puts.append(Put(number: number, accessKey: accessKey.map(String.init) ?? ""))
            return state.puts.count - 1
        }
        defer { state.withLockedValue { $0.running -= 1 } }
        let part = try await receive(request, number: number, index: index)
        guard request.headers[.contentLength] == "\(part.size)" else {
            return Self.error(.badRequest, "IncompleteBody")
        }
        state.withLockedValue { state in
            state.parts[number] = part
            state.puts[index].isStored = true
        }
        return Response(status: .ok, headers: [.eTag: "\"\(part.md5)\""])
    }

    private func receive(_ request: Request, number: Int, index: Int) async throws -> Part {
        let path = "\(folder)/put-\(index)"
        try Data().write(to: URL(filePath: path))
        let file = try FileHandle(forWritingTo: URL(filePath: path))
        defer { try? file.close() }
        var md5 = Insecure.MD5()
        var size: UInt64 = 0
        for try await buffer in request.body {
            let bytes = [UInt8](buffer: buffer)
            try file.write(contentsOf: bytes)
            md5.update(data: bytes)
            size += UInt64(bytes.count)
            let received = state.withLockedValue { state in
                state.puts[index].bytes += UInt64(bytes.count)
                return state.puts.reduce(0) { $0 + $1.bytes }
            }
            try await wire?.passes(received, .upload)
        }
        return Part(number: number, path: path, size: size, md5: hexadecimal(md5.finalize()))
    }
}
