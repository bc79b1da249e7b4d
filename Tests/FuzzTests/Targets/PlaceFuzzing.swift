// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import Hummingbird
import NIOCore

@testable import OperatorAPI

/// A request's first line is its Last-Event-ID and its second one the path; where it goes on is a place that there may
/// be, or a refusal in words.
enum PlaceFuzzing {
    static func run(_ bytes: [UInt8]) throws(BrokenPromise) -> Bool {
        let lines = bytes.split(separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false)
        let (id, path) = (String(decoding: lines[0], as: UTF8.self), String(decoding: lines.last ?? [], as: UTF8.self))
        let request = request(path, lastEventID: id.isEmpty ? nil : id)
        let limit = try read { try request.limit() }
        try promise(limit.map { (1...500).contains($0) } ?? true, "a limit of \(limit ?? 0)")
        let cursor = try read { try request.cursor() } ?? nil
        if let cursor {
            let again = try? Self.request("/?cursor=\(cursor)").cursor()
            try promise(cursor >= 0 && again == cursor, "cursor \(cursor) is \(again ?? -1) the next time")
        }
        let last = try read { try request.lastEventID() } ?? nil
        if let last {
            let again = try? Self.request("/events", lastEventID: String(last)).lastEventID()
            try promise(last >= 0 && again == last, "id \(last) is \(again ?? -1) the next time")
        }
        let uid = try read { try request.uidFilter() } ?? nil
        if let uid { try promise(ClipUID(uid.rawValue) == uid, "the uid is \(uid)") }
        return cursor != nil || last != nil || uid != nil
    }

    private static func request(_ path: String, lastEventID: String? = nil) -> Request {
        var head = HTTPRequest(method: .get, scheme: nil, authority: nil, path: path)
        head.headerFields[.lastEventID] = lastEventID
        return Request(head: head, body: RequestBody(buffer: .init()))
    }

    /// Nil for a refusal.
    private static func read<Value>(_ body: () throws -> Value) throws(BrokenPromise) -> Value? {
        do {
            return try body()
        } catch let problem as Problem {
            try promise(problem.status == .badRequest, "it is answered with \(problem.status)")
            return nil
        } catch {
            throw BrokenPromise(description: "no problem but \(error)")
        }
    }
}
