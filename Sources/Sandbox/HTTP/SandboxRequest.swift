// clipbridge
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HTTPTypes
import HummingbirdCore
import NIOCore
import ObjectStorage

/// A request with its target taken apart and nothing of it lost: signatures cover the raw text.
struct SandboxRequest: Sendable {
    let method: HTTPRequest.Method
    let headers: HTTPFields
    /// The `Host` header as it came.
    let authority: String
    /// Percent-encoded as it came, without the query.
    let rawPath: String
    let rawQuery: String
    let query: QueryItems
    var body: RequestBody

    init(_ request: Request) {
        let target = Self.originForm(request.head.path ?? "/")
        let sides = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        method = request.head.method
        headers = request.headers
        authority = request.head.authority ?? ""
        rawPath = sides.first.map(String.init) ?? "/"
        rawQuery = sides.count > 1 ? String(sides[1]) : ""
        query = QueryItems(rawQuery)
        body = request.body
    }

    /// The path's decoded segments, without an empty last one.
    var segments: [String] {
        var parts = rawPath.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        if parts.last == "" { parts.removeLast() }
        return parts.map { String(decoding: PercentEncoding.decode($0), as: UTF8.self) }
    }

    /// What `Content-Length` says; nil without one.
    var contentLength: UInt64? { headers[.contentLength].flatMap { UInt64($0) } }

    var expectsContinue: Bool { headers[.expect]?.lowercased() == "100-continue" }

    var isHead: Bool { method == .head }

    /// A proxy's absolute form is cut to its path.
    private static func originForm(_ target: String) -> String {
        guard !target.hasPrefix("/"), let mark = target.firstRange(of: "://") else { return target }
        let rest = target[mark.upperBound...]
        return rest.firstIndex(of: "/").map { String(rest[$0...]) } ?? "/"
    }
}

/// The decoded parameters of a query, in their order.
struct QueryItems: Sendable {
    let items: [(name: String, value: String)]

    init(_ rawQuery: String) {
        items = rawQuery.split(separator: "&").map { item in
            let sides = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let texts = sides.map {
                String(decoding: PercentEncoding.decode($0, plusIsSpace: true), as: UTF8.self)
            }
            return (texts[0], texts.count > 1 ? texts[1] : "")
        }
    }

    subscript(name: String) -> String? { items.first { $0.name == name }?.value }

    func contains(_ name: String) -> Bool { self[name] != nil }
}

/// A body was longer than is read here.
struct BodyTooLarge: Error {}

extension SandboxRequest {
    /// The whole body, for those that are small by nature.
    func collectBody(bytesMax: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await buffer in body {
            guard bytes.count + buffer.readableBytes <= bytesMax else { throw BodyTooLarge() }
            bytes.append(contentsOf: buffer.readableBytesView)
        }
        return bytes
    }
}
