// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore

extension Response {
    static func json(
        _ value: JSONValue, status: HTTPResponse.Status = .ok, contentType: String = "application/json"
    ) -> Response {
        Response(
            status: status, headers: [.contentType: contentType, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: value.json)))
    }
}

extension JSONValue {
    init(_ text: String?) { self = text.map(JSONValue.string) ?? .null }
    init(_ time: Timestamp) { self = .string(time.rfc3339) }
}

extension ClipRecord {
    /// The contract's clip.
    var json: JSONValue { .object(members) }

    var members: [String: JSONValue] {
        [
            "uid": .string(uid.rawValue),
            "status": JSONValue(statusWord),
            "order": status.map { .integer(Int64($0.order)) } ?? .null,
            "message": .string(details[.statusMessage]?.stringValue ?? status?.message ?? "Not one of our statuses"),
            "progress": JSONValue(number: progress),
            "processing_details": .object(details),
            "created_at": JSONValue(createdAt),
            "updated_at": JSONValue(updatedAt),
            "next_action": nextAction,
        ]
    }

    var nextAction: JSONValue {
        guard let work else { return .null }
        return [
            "kind": .string(work.action.rawValue), "due_at": JSONValue(work.dueAt),
            "attempt": .integer(Int64(work.attempt)),
        ]
    }
}

extension LedgerEntry {
    var json: JSONValue {
        var details = signal.details
        if signal.request == .retry { details["retry"] = true }
        return [
            "seq": .integer(seq), "at": JSONValue(at), "source": .string(signal.source.rawValue),
            "requested_status": JSONValue(requestedStatus), "outcome": JSONValue(outcome?.rawValue),
            "reason": JSONValue(reason?.rawValue), "from": JSONValue(from?.rawValue), "to": JSONValue(to?.rawValue),
            "details": .object(details),
        ]
    }
}

extension DeliveryRecord {
    var members: [String: JSONValue] {
        [
            "id": .string(String(id)), "received_at": JSONValue(receivedAt), "signed_at": JSONValue(signedAt),
            "uid": JSONValue(uid?.rawValue), "outcome": .string(outcome.rawValue),
        ]
    }

    var summary: JSONValue { .object(members) }

    /// With the body, as text where it is any, else repaired and beside it in base64.
    var json: JSONValue {
        var members = members
        members["body"] = .string(String(decoding: body, as: UTF8.self))
        if String(validating: body, as: UTF8.self) == nil {
            members["body_base64"] = .string(Data(body).base64EncodedString())
        }
        return .object(members)
    }
}
