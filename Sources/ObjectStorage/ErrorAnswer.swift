// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import OutboundHTTP

/// Turns an answer that is no success into an error, with the words for whoever runs the bridge.
struct ErrorAnswer {
    /// `put of object "videos/6b9e….mp4"`
    var operation: String
    var configuration: S3Configuration
    var response: OutboundResponse
    /// What a 404 without a body means for this operation; a HEAD's answer never has one.
    var notFound: ObjectStorageError.Code
    var now: Timestamp

    func error() -> ObjectStorageError {
        let answer = S3XML.decode(S3XML.ErrorBody.self, from: response.body)
        let code = answer?.code.map { ObjectStorageError.Code(rawValue: $0) ?? .other } ?? codeOfStatus
        let requestID =
            response.head.headers[.cloudflareRay].map { "cf-ray \(printable($0))" }
            ?? (answer?.requestID ?? response.head.headers[.amzRequestID]).map { "request id \(printable($0))" }
        let name = answer?.code.map(printable) ?? (code == .other ? nil : code.rawValue)
        let said = answer?.message.map { " (\"\(printable($0))\")" } ?? ""
        var message = sentence(
            code,
            answer: ["\(response.status)", name].compactMap(\.self).joined(separator: " ") + said
        )
        if let requestID { message += "; \(requestID)" }
        return ObjectStorageError(
            code: code,
            message: message,
            status: response.status,
            retryAfter: retryAfter,
            requestID: requestID
        )
    }

    private func sentence(_ code: ObjectStorageError.Code, answer: String) -> String {
        let endpoint = configuration.endpoint
        let bucket = configuration.bucket
        switch code {
        case .noSuchBucket:
            return "bucket \"\(bucket)\" does not exist at \(endpoint): check R2_BUCKET_NAME and R2_ENDPOINT"
                + " (\(operation): \(answer))"
        case .invalidBucketName:
            return "\"\(bucket)\" can not be a bucket's name: check R2_BUCKET_NAME (\(operation): \(answer))"
        case .unauthorized, .accessDenied, .invalidAccessKeyID, .signatureDoesNotMatch, .notEntitled:
            return "\(operation) was refused by \(endpoint), \(answer): check that R2_ACCESS_KEY_ID and"
                + " R2_SECRET_ACCESS_KEY belong together and may read and write bucket \"\(bucket)\""
        case .requestTimeTooSkewed, .expiredRequest:
            let date = response.head.headers[.date].map { ", the storage's says \(printable($0))" } ?? ""
            return
                "\(operation) was refused by \(endpoint), \(answer): this machine's clock says \(now.rfc3339)\(date);"
                + " set it right"
        case .permanentRedirect:
            return "\(operation) was sent elsewhere by \(endpoint), \(answer): check R2_ENDPOINT and R2_REGION"
        case .objectLocked:
            return "\(operation) was refused by \(endpoint), \(answer): a lock rule of bucket \"\(bucket)\" forbids it"
        default:
            return "\(operation) was answered by \(endpoint) with \(answer)"
        }
    }

    private var codeOfStatus: ObjectStorageError.Code {
        switch response.status {
        case 300..<400: .permanentRedirect
        case 401: .unauthorized
        case 403: .accessDenied
        case 404: notFound
        case 405: .methodNotAllowed
        case 408: .requestTimeout
        case 411: .missingContentLength
        case 412: .preconditionFailed
        case 429: .tooManyRequests
        case 500: .internalError
        case 501: .notImplemented
        case 503: .serviceUnavailable
        default: .other
        }
    }

    /// Seconds, or a date.
    private var retryAfter: Duration? {
        guard let text = response.head.headers[.retryAfter] else { return nil }
        if let seconds = Int64(text), seconds >= 0 { return .seconds(min(seconds, 86_400)) }
        guard let time = HTTPDate.parse(text) else { return nil }
        return min(max(.zero, time - now), .seconds(86_400))
    }

    /// What came from outside, fit for one line of a log.
    private func printable(_ text: String) -> String {
        let line = text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) }
        return line.count > 300 ? String(line.prefix(300)) + "…" : String(line)
    }
}
