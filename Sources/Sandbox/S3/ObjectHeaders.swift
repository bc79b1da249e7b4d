// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import Hummingbird

extension ObjectAttributes {
    private static let kept: [HTTPField.Name] = [
        .contentType, .cacheControl, .contentDisposition, .contentEncoding, .contentLanguage, .expires,
    ]
    private static let metadataPrefix = "x-amz-meta-"
    private static let metadataBytesMax = 8192

    /// What a request says about the object that it makes.
    init(_ headers: HTTPFields) throws(S3Error) {
        for name in Self.kept { self.headers[name.canonicalName] = headers[name] }
        for field in headers where field.name.canonicalName.hasPrefix(Self.metadataPrefix) {
            metadata[String(field.name.canonicalName.dropFirst(Self.metadataPrefix.count))] = field.value
        }
        let bytes = metadata.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        guard bytes <= Self.metadataBytesMax else { throw .metadataTooLarge }
    }

    /// R2 guesses the type of what is put whole, and not of what is put in parts.
    mutating func guessType(of key: ObjectKey) {
        guard headers["content-type"] == nil else { return }
        let ending = key.text.split(separator: ".").last.map(String.init) ?? ""
        let type = key.text.contains(".") ? MediaType.getMediaType(forExtension: ending) : nil
        headers["content-type"] = type?.description ?? "application/octet-stream"
    }

    var fields: HTTPFields {
        var fields = HTTPFields()
        for (name, value) in headers {
            if let name = HTTPField.Name(name) { fields[name] = value }
        }
        for (name, value) in metadata {
            if let name = HTTPField.Name(Self.metadataPrefix + name) { fields[name] = value }
        }
        return fields
    }
}

/// Answers GET and HEAD of an object: conditions, ranges and header fields.
struct ObjectReader {
    let object: StoredObject
    let slices: [FileSlice]

    func answer(_ request: SandboxRequest) throws(S3Error) -> SandboxResponse {
        var headers = object.attributes.fields
        headers[.eTag] = "\"\(object.etag)\""
        headers[.lastModified] = HTTPDate.text(object.lastModified)
        headers[.acceptRanges] = "bytes"
        if headers[.contentType] == nil { headers[.contentType] = "application/octet-stream" }
        if let failed = try condition(request) { return SandboxResponse(status: failed, headers: headers) }
        override(&headers, request.query)
        var response = SandboxResponse(status: .ok, headers: headers, payload: .slices(slices))
        switch try range(request) {
        case .whole:
            if request.headers[.amzChecksumMode]?.uppercased() == "ENABLED", let crc32 = object.crc32 {
                response.headers[.amzChecksumCRC32] = crc32
                response.headers[.amzChecksumType] = "FULL_OBJECT"
            }
        case .part(let offset, let length):
            response.status = .partialContent
            response.headers[.contentRange] = "bytes \(offset)-\(offset + length - 1)/\(object.size)"
            response.payload = .slices(slices.part(offset: offset, length: length))
        case .unsatisfiable: throw .invalidRange(size: object.size)
        }
        if request.query.contains("partNumber") {
            response.headers[.amzMultipartPartsCount] = object.isInParts ? String(object.segments.count) : nil
        }
        return response
    }

    /// 304 where the client has the object already; throws 412.
    private func condition(_ request: SandboxRequest) throws(S3Error) -> HTTPResponse.Status? {
        // HTTP's dates know no fractions of a second.
        let modified = object.lastModified.seconds
        func time(_ name: HTTPField.Name) -> Int64? { request.headers[name].flatMap { HTTPDate.parse($0) }?.seconds }
        if let tags = request.headers[.ifMatch] {
            guard EntityTag.matches(tags, object.etag) else { throw .preconditionFailed }
        } else if let since = time(.ifUnmodifiedSince), modified > since {
            throw .preconditionFailed
        }
        if let tags = request.headers[.ifNoneMatch] { return EntityTag.matches(tags, object.etag) ? .notModified : nil }
        if let since = time(.ifModifiedSince), modified <= since { return .notModified }
        return nil
    }

    private func range(_ request: SandboxRequest) throws(S3Error) -> ByteRange {
        if let text = request.query["partNumber"] { return try part(text) }
        if let condition = request.headers[.ifRange], EntityTag.bare(condition) != object.etag { return .whole }
        return ByteRange(header: request.headers[.range], size: object.size)
    }

    private func part(_ text: String) throws(S3Error) -> ByteRange {
        guard let number = Int(text), MultipartUpload.partNumbers.contains(number) else {
            throw .invalidArgument("Part number must be an integer between 1 and 10000, inclusive")
        }
        guard number <= object.segments.count else { throw .invalidRange(size: object.size) }
        guard object.size > 0 else { return .whole }
        let offset = object.segments.prefix(number - 1).reduce(0) { $0 + $1.length }
        return .part(offset: offset, length: object.segments[number - 1].length)
    }

    /// A signed link may say how its answer is to be described.
    private func override(_ headers: inout HTTPFields, _ query: QueryItems) {
        let names: [(String, HTTPField.Name)] = [
            ("response-content-type", .contentType), ("response-cache-control", .cacheControl),
            ("response-content-disposition", .contentDisposition), ("response-content-encoding", .contentEncoding),
            ("response-content-language", .contentLanguage), ("response-expires", .expires),
        ]
        for (parameter, name) in names {
            if let value = query[parameter] { headers[name] = value }
        }
    }
}

extension StoredObject {
    var isInParts: Bool { etag.contains("-") }
}
