// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import OutboundHTTP

/// What is around every answer of Cloudflare's API.
struct StreamEnvelope {
    var success: Bool?
    var errors: [StreamAPIMessage]
    /// Nil also for null.
    var result: JSONValue?

    /// - Returns: nil when the answer is not the API's.
    init?(_ answer: OutboundResponse) {
        guard answer.isJSON, let object = JSONValue(json: answer.body)?.objectValue else { return nil }
        success = object["success"]?.boolValue
        errors = object["errors"].flatMap(StreamList<StreamAPIMessage>.init(json:))?.elements.compactMap(\.self) ?? []
        if let given = object["result"], given != .null { result = given }
    }
}

/// One entry of `errors`.
struct StreamAPIMessage: StreamResult {
    var code: Int?
    var message: String?

    init?(json: JSONValue) {
        guard let object = json.objectValue else { return nil }
        code = object.whole("code").flatMap(Int.init(exactly:))
        message = object.text("message")
    }
}

/// A result that is of no interest.
struct Anything: StreamResult {
    init(json: JSONValue) {}
}

extension StreamError {
    /// Reads an answer that is no success. It never fails on the body: edge answers are HTML or plain text.
    init(answer: OutboundResponse, endpoint: StreamEndpoint, now: Timestamp) {
        let envelope = StreamEnvelope(answer)
        self.init(
            answer: answer,
            endpoint: endpoint,
            isAPI: envelope != nil,
            first: envelope?.errors.first,
            now: now
        )
    }

    init(answer: OutboundResponse, endpoint: StreamEndpoint, isAPI: Bool, first: StreamAPIMessage?, now: Timestamp) {
        let said = Self.quote(answer.status, isAPI: isAPI, first: first)
        let (code, isRetryable) = Self.classify(answer.status, isAPI: isAPI, cloudflareCode: first?.code)
        self.init(
            code: code,
            message: Self.words(code, endpoint: endpoint, said: said, isAPI: isAPI),
            status: answer.status,
            isRetryable: isRetryable
        )
        cloudflareCode = first?.code
        cloudflareMessage = first?.message.map { DisplayText.bounded($0, lengthMax: 200) }
        if isRetryable { retryAfter = answer.head.headers[.retryAfter].flatMap { RetryAfter.parse($0, now: now) } }
        if code == .rateLimited, retryAfter == nil { retryAfter = RateBudgetMachine.Limits.cloudflare.pauseDefault }
    }

    /// By HTTP status alone, since Cloudflare publishes no table of its codes; the two exceptions are those of the
    /// API's front door, which Stream itself never sees.
    private static func classify(_ status: Int, isAPI: Bool, cloudflareCode: Int?) -> (Code, isRetryable: Bool) {
        switch status {
        case 401, 403:
            return (.unauthorized, false)
        case 400 where [6003, 6111].contains(cloudflareCode):
            // "Invalid request headers": the token is no token by its form.
            return (.unauthorized, false)
        case 400 where [7000, 7003].contains(cloudflareCode):
            return (.noRoute, false)
        case 404 where !isAPI || [7000, 7003].contains(cloudflareCode):
            // "No route for the URI": not a missing video, which would end a clip, but a wrong setting.
            return (.noRoute, false)
        case 404: return (.notFound, false)
        case 405: return (.noRoute, false)
        case 409, 412, 424, 425: return (.notReady, true)
        case 429: return (.rateLimited, true)
        case 408, 500...: return (.unavailable, true)
        case 400..<500: return (.refused, false)
        case 300..<400: return (.unexpectedAnswer, false)
        default: return (.unexpectedAnswer, true)
        }
    }

    private static func quote(_ status: Int, isAPI: Bool, first: StreamAPIMessage?) -> String {
        guard isAPI else { return "HTTP \(status), not in the API's JSON" }
        let code = first?.code.map { ", code \($0)" } ?? ""
        let text = first?.message.map { " \"\(DisplayText.bounded($0, lengthMax: 200))\"" } ?? ""
        return "HTTP \(status)\(code)\(text)"
    }

    private static func words(_ code: Code, endpoint: StreamEndpoint, said: String, isAPI: Bool) -> String {
        switch code {
        case .unauthorized:
            return isAPI
                ? "Cloudflare refused the API token (\(said)): check CLOUDFLARE_API_TOKEN and that it has Stream Read "
                    + "and Write for the account in CLOUDFLARE_ACCOUNT_ID"
                : "Cloudflare's edge refused the request (\(said)): check CLOUDFLARE_API_TOKEN, and whether this "
                    + "machine's address is blocked there"
        case .noRoute:
            return "Cloudflare's API does not know what was asked for (\(said)): check CLOUDFLARE_ACCOUNT_ID and "
                + "CLOUDFLARE_API_BASE"
        case .notFound:
            return "Cloudflare has no such video (\(said)): it was deleted, or belongs to another account"
        case .notReady:
            return "Cloudflare can not do it yet (\(endpoint.words): \(said))"
        case .rateLimited:
            return "Cloudflare's request limit is reached (\(said)): 1,200 in 5 minutes for everything that uses the "
                + "account"
        case .unavailable:
            return "Cloudflare's API has a passing fault (\(endpoint.words): \(said))"
        case .unexpectedAnswer:
            return "Cloudflare's API did not answer as it should (\(endpoint.words): \(said)): check "
                + "CLOUDFLARE_API_BASE"
        case .refused, .budget, .transfer, .cancelled:
            return "Cloudflare refused the request (\(endpoint.words): \(said))"
        }
    }
}

extension OutboundResponse {
    /// By the content type; where none is given, by the first byte.
    var isJSON: Bool {
        guard let type = head.headers[.contentType]?.lowercased() else { return body.first == UInt8(ascii: "{") }
        let media = type.split(separator: ";").first.map { $0.trimmingPrefix { $0 == " " } } ?? ""
        return media.hasPrefix("application/json") || media.contains("+json")
    }
}
