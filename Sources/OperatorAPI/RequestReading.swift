// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore

/// Reads bodies and queries, and says in words what is wrong with them.
extension Request {
    private static let bodyBytesMax = 256 << 10

    /// The body as a JSON object.
    func jsonObject() async throws -> [String: JSONValue] {
        let bytes = try await bytes(atMost: Self.bodyBytesMax)
        guard let object = JSONValue(json: bytes)?.objectValue else {
            throw Problem.badRequest("the body is not a JSON object")
        }
        return object
    }

    /// The whole body, unless it is larger.
    func bytes(atMost limit: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await buffer in body {
            guard bytes.count + buffer.readableBytes <= limit else {
                throw Problem(status: .contentTooLarge, detail: "the body is larger than \(limit) bytes")
            }
            bytes.append(contentsOf: buffer.readableBytesView)
        }
        return bytes
    }

    /// `limit`, 1…500, by default 50.
    func limit() throws -> Int {
        guard let text = uri.queryParameters["limit"] else { return 50 }
        guard let limit = Int(text), (1...500).contains(limit) else {
            throw Problem.badRequest("\"limit\" is \"\(text.prefix(32))\"; it is a number from 1 to 500")
        }
        return limit
    }

    /// Where the last page ended; it is made by us and says nothing to anybody else.
    func cursor() throws -> Int64? {
        guard let text = uri.queryParameters["cursor"], !text.isEmpty else { return nil }
        guard let cursor = Int64(text), cursor >= 0 else {
            throw Problem.badRequest("\"cursor\" is none that a page here ended with")
        }
        return cursor
    }

    /// The last event that the client has; nil for one that begins. The header goes before the query, which stays as it
    /// was when a browser connects anew.
    func lastEventID() throws -> Int64? {
        let query = uri.queryParameters["last_event_id"].map { String($0) }
        guard let text = headers[.lastEventID] ?? query, !text.isEmpty else { return nil }
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            throw Problem.badRequest("Last-Event-ID is \"\(text.prefix(32))\"; it is a number from 0 on")
        }
        // A number that does not fit is beyond whatever there is as well.
        return Int64(text) ?? .max
    }

    func uidFilter() throws -> ClipUID? {
        guard let text = uri.queryParameters["uid"], !text.isEmpty else { return nil }
        guard let uid = ClipUID(text) else { throw Problem.badRequest("\"uid\" is not a clip's uid") }
        return uid
    }
}

extension [String: JSONValue] {
    func text(_ key: String) throws -> String {
        guard let value = self[key], value != .null else { throw Problem.badRequest("\"\(key)\" is missing") }
        guard let text = value.stringValue else { throw Problem.badRequest("\"\(key)\" is not a string") }
        return text
    }

    func uid(_ key: String) throws -> ClipUID {
        guard let uid = ClipUID(try text(key)) else {
            throw Problem.badRequest("\"\(key)\" is not a uid: 1 to 32 of 0-9, a-z, A-Z, _ and -")
        }
        return uid
    }

    /// The members of `details`; none when it is absent or null.
    func details() throws -> Details {
        guard let value = self["details"], value != .null else { return [:] }
        guard let details = value.objectValue else { throw Problem.badRequest("\"details\" is not an object") }
        return details
    }
}

/// One page of a list, and the cursor of the next.
func page<Record>(
    _ records: [Record], limit: Int, name: String, cursor: (Record) -> Int64, json: (Record) -> JSONValue
) -> Response {
    let shown = records.prefix(limit)
    let next: JSONValue =
        if records.count > limit, let last = shown.last { .string(String(cursor(last))) } else { .null }
    return .json(.object([name: .array(shown.map(json)), "next_cursor": next]))
}
