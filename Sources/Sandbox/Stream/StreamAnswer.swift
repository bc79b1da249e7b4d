// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials
import HTTPTypes
import ObjectStorage

/// Cloudflare's envelope around every JSON answer.
enum StreamAnswer {
    static func success(_ result: JSONValue, besides: [String: JSONValue] = [:]) -> SandboxResponse {
        var envelope: [String: JSONValue] = ["success": true, "errors": [], "messages": [], "result": result]
        envelope.merge(besides) { _, new in new }
        return json(.ok, .object(envelope))
    }

    static func failure(_ failure: StreamFailure) -> SandboxResponse {
        var error: [String: JSONValue] = ["code": .integer(Int64(failure.code)), "message": .string(failure.message)]
        error["source"] = failure.pointer.map { ["pointer": .string($0)] }
        let answer = json(
            HTTPResponse.Status(code: failure.status),
            ["success": false, "errors": [.object(error)], "messages": [], "result": .null])
        return answer
    }

    static func json(_ status: HTTPResponse.Status, _ value: JSONValue) -> SandboxResponse {
        var response = SandboxResponse(status: status, payload: .bytes(bytes(of: value)))
        response.headers[.contentType] = "application/json"
        return response
    }

    /// With members in order, so that the same value always has the same bytes.
    static func bytes(of value: JSONValue) -> [UInt8] { Array(value.json.utf8) }
}

/// A call that is refused, with its HTTP status and Cloudflare's own number.
struct StreamFailure: Error, Sendable, Equatable {
    var status: Int
    var code: Int
    var message: String
    /// A JSON pointer to the member that is wrong.
    var pointer: String?

    static let unauthenticated = StreamFailure(status: 401, code: 10000, message: "Authentication error")
    /// A good token of another account.
    static let forbidden = StreamFailure(status: 403, code: 10000, message: "Authentication error")
    static let notFound = StreamFailure(
        status: 404, code: 10003, message: "Not Found: no such video, or it was deleted")
    static let noRoute = StreamFailure(status: 404, code: 7003, message: "No route for the URI")
    static let methodNotAllowed = StreamFailure(
        status: 405, code: 10405, message: "Method not allowed for this URI")
    static let rateLimited = StreamFailure(
        status: 429, code: 10429, message: "Please wait and consider throttling your request speed")

    static func badRequest(_ message: String, pointer: String? = nil) -> StreamFailure {
        StreamFailure(status: 400, code: 10005, message: "Bad Request: \(message)", pointer: pointer)
    }
}
