// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
package import OutboundHTTP

/// Why a call to Cloudflare's API gave no result.
package struct StreamError: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable, CaseIterable {
        /// The token was refused (401, 403).
        case unauthorized
        /// No such video or no such thing of it (404).
        case notFound = "not_found"
        /// The API does not know the path: a wrong account or base URL.
        case noRoute = "no_route"
        /// Not possible in the video's present state (409, 412, 424, 425).
        case notReady = "not_ready"
        /// Cloudflare's limit is reached (429).
        case rateLimited = "rate_limited"
        /// Our own share of Cloudflare's limit is used up; nothing was sent.
        case budget
        /// Any other 4xx.
        case refused
        /// 408 or 5xx.
        case unavailable
        /// An answer that can not be read, or none of Cloudflare's API.
        case unexpectedAnswer = "unexpected_answer"
        /// No complete answer.
        case transfer
        case cancelled
    }

    package var code: Code
    /// What failed, why and what to do, in words.
    package var message: String
    package var status: Int?
    /// The first error of Cloudflare's envelope; for display only, since its numbers are not documented.
    package var cloudflareCode: Int?
    package var cloudflareMessage: String?
    package var isRetryable: Bool
    package var retryAfter: Duration?
    package var transferError: TransferError?

    package init(
        code: Code,
        message: String,
        status: Int? = nil,
        isRetryable: Bool,
        retryAfter: Duration? = nil
    ) {
        self.code = code
        self.message = message
        self.status = status
        self.isRetryable = isRetryable
        self.retryAfter = retryAfter
    }

    package var description: String { message }

    /// One word out of a bounded set, for metric labels and grouping.
    package var shortDescription: String { "cloudflare_\(code.rawValue)" }

    /// Nobody's failure and no try at it: to be waited out.
    package var isWaiting: Bool {
        switch code {
        case .rateLimited, .budget, .cancelled: true
        case .unauthorized, .notFound, .noRoute, .notReady, .refused, .unavailable, .unexpectedAnswer, .transfer: false
        }
    }

    /// As an action's outcome.
    package var actionFailure: ActionFailure {
        ActionFailure(
            code: shortDescription,
            message: message,
            isRetryable: isRetryable,
            retryAfter: retryAfter,
            isWaiting: isWaiting
        )
    }
}

extension StreamError {
    init(_ error: TransferError, endpoint: StreamEndpoint) {
        self.init(
            code: error.code == .cancelled ? .cancelled : .transfer,
            message: "\(endpoint.words) at Cloudflare got no answer: \(error.message)",
            isRetryable: error.isRetryable
        )
        transferError = error
    }

    static func cancelled(_ endpoint: StreamEndpoint?) -> StreamError {
        let what = endpoint?.words ?? "a call"
        return StreamError(code: .cancelled, message: "\(what) at Cloudflare was cancelled", isRetryable: true)
    }

    static func unexpected(_ endpoint: StreamEndpoint, status: Int, why: String) -> StreamError {
        StreamError(
            code: .unexpectedAnswer,
            message: "\(endpoint.words) at Cloudflare was answered with HTTP \(status), but \(why)",
            status: status,
            isRetryable: true
        )
    }
}
