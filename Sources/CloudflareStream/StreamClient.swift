// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import FoundationEssentials
import HTTPTypes
package import Logging
package import Metrics
package import OutboundHTTP

/// Speaks to Cloudflare Stream's API for one account. Every call asks the budget first, sends one request, and retries
/// nothing: whether and when to try again is its caller's to say.
package struct StreamClient: Sendable {
    private let transport: any HTTPTransport
    private let streamURL: String
    private let authorization: String
    private let budget: any RequestBudget
    private let clock: any WallClock
    private let logger: Logger
    private let metrics: StreamMetrics

    /// - Parameter baseURL: for example `https://api.cloudflare.com/client/v4`.
    package init(
        transport: any HTTPTransport,
        baseURL: String,
        accountID: String,
        token: String,
        budget: any RequestBudget,
        clock: any WallClock = SystemWallClock(),
        logger: Logger,
        metrics: any MetricsFactory = MetricsSystem.factory
    ) {
        var base = baseURL[...]
        while base.hasSuffix("/") { base = base.dropLast() }
        self.transport = transport
        self.streamURL = "\(base)/accounts/\(PercentEncoding.segment(accountID))/stream"
        self.authorization = "Bearer \(token)"
        self.budget = budget
        self.clock = clock
        self.logger = logger
        self.metrics = StreamMetrics(factory: metrics)
    }

    var now: Timestamp { clock.now() }

    /// One request, as far as calls differ.
    struct Call {
        var endpoint: StreamEndpoint
        var method: HTTPRequest.Method
        /// Below `/stream`, with its query.
        var path: String
        var json: [UInt8]?
        var priority: RequestPriority
    }

    /// Sends the call and reads `result` of the answer; nil where there is none.
    func result<Result: StreamResult>(_ type: Result.Type, of call: Call) async throws(StreamError) -> Result? {
        try Self.result(type, in: await send(call), endpoint: call.endpoint, now: clock.now())
    }

    /// Reads `result` of an answer, whatever that holds. Pure.
    static func result<Result: StreamResult>(
        _ type: Result.Type, in answer: OutboundResponse, endpoint: StreamEndpoint, now: Timestamp
    ) throws(StreamError) -> Result? {
        guard answer.isSuccess else { throw StreamError(answer: answer, endpoint: endpoint, now: now) }
        guard let envelope = StreamEnvelope(answer) else {
            throw .unexpected(
                endpoint,
                status: answer.status,
                why: "not in the API's JSON: check CLOUDFLARE_API_BASE"
            )
        }
        guard envelope.success != false else {
            let reason = DisplayText.bounded(envelope.errors.first?.message ?? "no reason given", lengthMax: 200)
            throw .unexpected(endpoint, status: answer.status, why: "without success: \(reason)")
        }
        guard let json = envelope.result else { return nil }
        guard let result = Result(json: json) else {
            throw .unexpected(endpoint, status: answer.status, why: "its result can not be read")
        }
        return result
    }

    private func send(_ call: Call) async throws(StreamError) -> OutboundResponse {
        try await budget.acquire(call.priority)
        var headers: HTTPFields = [.authorization: authorization, .accept: "application/json"]
        var body = OutboundBody.none
        if let json = call.json {
            headers[.contentType] = "application/json"
            body = .bytes(json)
        } else if call.method == .post {
            body = .bytes([])
        }
        let request = OutboundRequest(
            method: call.method,
            url: streamURL + call.path,
            headers: headers,
            body: body,
            sink: .memory(bytesMax: Self.answerBytesMax)
        )
        let answer: OutboundResponse
        do {
            answer = try await transport.send(request)
        } catch {
            metrics.count(call.endpoint, code: error.shortDescription)
            throw StreamError(error, endpoint: call.endpoint)
        }
        metrics.count(call.endpoint, code: String(answer.status))
        await learn(from: answer, endpoint: call.endpoint)
        return answer
    }

    /// A list of 1,000 videos is about 2 MB.
    private static let answerBytesMax = 16 << 20

    private func learn(from answer: OutboundResponse, endpoint: StreamEndpoint) async {
        let isLimited = answer.status == 429
        let retryAfter =
            isLimited
            ? answer.head.headers[.retryAfter].flatMap { RetryAfter.parse($0, now: clock.now()) } : nil
        if isLimited {
            logger.warning(
                "cloudflare request limit reached",
                metadata: [
                    "cloudflare.endpoint": "\(endpoint.rawValue)",
                    "retry_after": "\(retryAfter.map { "\($0.inSeconds) s" } ?? "not said")",
                ]
            )
        }
        let hint = answer.head.headers[.rateLimit].flatMap(RateLimitHint.parse)
        await budget.observe(BudgetAnswer(hint: hint, isLimited: isLimited, retryAfter: retryAfter))
    }
}

extension StreamClient: CustomStringConvertible, CustomReflectable {
    package var description: String { "StreamClient(\(streamURL))" }
    /// Without the token.
    package var customMirror: Mirror { Mirror(self, children: ["streamURL": streamURL]) }
}

extension HTTPField.Name {
    static let rateLimit = HTTPField.Name("Ratelimit")!  // A literal of token characters.
}

/// Percent-encoding of what stands in a URL.
enum PercentEncoding {
    /// Everything but RFC 3986's unreserved characters.
    static func segment(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF")
        return text.utf8.reduce(into: "") { encoded, byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                encoded.append("%")
                encoded.append(digits[Int(byte >> 4)])
                encoded.append(digits[Int(byte & 15)])
            }
        }
    }
}
