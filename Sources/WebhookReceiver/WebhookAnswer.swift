// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1

/// What the receiver says to a delivery: one of a bounded set of outcomes, and its JSON.
struct WebhookAnswer: Sendable, Equatable {
    /// The metric's label.
    var label: Label
    var status: HTTPResponse.Status
    /// Members in the order in which they are written.
    var members: [Member]
    var headers: HTTPHeaders = [:]

    struct Member: Sendable, Equatable {
        var key: String
        var value: String
    }

    enum Label: String, Sendable, CaseIterable {
        case accepted, duplicate, ignored, malformed
        case signatureMissing = "signature_missing"
        case signatureMalformed = "signature_malformed"
        case signatureMismatch = "signature_mismatch"
        case signatureExpired = "signature_expired"
        case bodyTooLarge = "body_too_large"
        case bodyIncomplete = "body_incomplete"
        case bodiesBusy = "bodies_busy"
        case methodNotAllowed = "method_not_allowed"
        case storeFailed = "store_failed"
        case storeTimedOut = "store_timed_out"
        case storeBusy = "store_busy"
    }

    var response: Response {
        let (head, body) = parts
        let headers = HTTPFields(head.headers, splitCookie: false)
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: body))
    }

    /// As they are sent.
    var parts: (head: HTTPResponseHead, body: ByteBuffer) {
        let body = ByteBuffer(bytes: json)
        var head = HTTPResponseHead(
            version: .http1_1, status: .init(statusCode: status.code, reasonPhrase: status.reasonPhrase),
            headers: headers)
        head.headers.add(name: "Content-Type", value: "application/json")
        head.headers.add(name: "Content-Length", value: String(body.readableBytes))
        return (head, body)
    }

    private var json: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(64)
        for member in members {
            bytes.append(UInt8(ascii: bytes.isEmpty ? "{" : ","))
            JSONValue.write(member.key, into: &bytes)
            bytes.append(UInt8(ascii: ":"))
            JSONValue.write(member.value, into: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }
}

extension WebhookAnswer {
    static func accepted(_ id: String) -> Self {
        Self(
            label: .accepted,
            status: .ok,
            members: [.init(key: "outcome", value: "accepted"), .init(key: "delivery", value: id)]
        )
    }

    static func duplicate(of id: String) -> Self {
        Self(
            label: .duplicate,
            status: .ok,
            members: [.init(key: "outcome", value: "duplicate"), .init(key: "delivery", value: id)]
        )
    }

    static func ignored(_ reason: DeliveryInterpreter.IgnoredReason) -> Self {
        Self(
            label: .ignored,
            status: .ok,
            members: [.init(key: "outcome", value: "ignored"), .init(key: "reason", value: reason.rawValue)]
        )
    }

    static func malformed(_ reason: DeliveryInterpreter.MalformedReason) -> Self {
        refusal(.malformed, .badRequest, error: reason.rawValue, reason.message)
    }

    static func refused(_ refusal: SignatureRefusal, toleranceSeconds: Int64) -> Self {
        switch refusal {
        case .missing:
            return .refusal(.signatureMissing, .unauthorized, "there is no header Webhook-Signature")
        case .malformed:
            return .refusal(
                .signatureMalformed,
                .unauthorized,
                "the header Webhook-Signature is not of the form time=<unix seconds>,sig1=<64 hexadecimal digits>"
            )
        case .mismatch:
            return .refusal(
                .signatureMismatch,
                .unauthorized,
                "the signature was not made over this body with a secret known here"
            )
        case .expired(let age):
            let distance = age >= 0 ? "\(age) s old" : "\(-age) s ahead of this machine's clock"
            return .refusal(
                .signatureExpired,
                .unauthorized,
                "the signature is \(distance), tolerance is \(toleranceSeconds) s"
            )
        }
    }

    static func bodyTooLarge(bytesMax: Int) -> Self {
        // The rest is not read, so the connection can not go on.
        refusal(
            .bodyTooLarge,
            .contentTooLarge,
            "the body is larger than \(bytesMax) bytes",
            headers: ["Connection": "close"]
        )
    }

    static func noRoom(retryAfterSeconds: Int) -> Self {
        // As with one that is too large.
        refusal(
            .bodiesBusy,
            .serviceUnavailable,
            "too many large bodies are arriving; send it again later",
            headers: ["Connection": "close", "Retry-After": String(retryAfterSeconds)]
        )
    }

    static var methodNotAllowed: Self {
        refusal(
            .methodNotAllowed,
            .methodNotAllowed,
            "only POST is possible here",
            headers: ["Allow": "POST"]
        )
    }

    static func notStored(_ failure: BoundedLedger.Failure, retryAfterSeconds: Int) -> Self {
        let (label, message): (Label, String) =
            switch failure {
            case .busy: (.storeBusy, "too many deliveries are waiting for the store; send it again later")
            case .timedOut: (.storeTimedOut, "the store did not answer in time; send it again later")
            case .failed: (.storeFailed, "the delivery could not be stored; send it again later")
            }
        return refusal(
            label,
            .serviceUnavailable,
            error: "store_unavailable",
            message,
            headers: ["Retry-After": String(retryAfterSeconds)]
        )
    }

    private static func refusal(
        _ label: Label,
        _ status: HTTPResponse.Status,
        error: String? = nil,
        _ message: String,
        headers: HTTPHeaders = [:]
    ) -> Self {
        let members = [Member(key: "error", value: error ?? label.rawValue), Member(key: "message", value: message)]
        return Self(label: label, status: status, members: members, headers: headers)
    }
}
