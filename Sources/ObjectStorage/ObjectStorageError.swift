// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import OutboundHTTP

/// Why an operation on the object storage gave no result, in words an operator can use.
package struct ObjectStorageError: Error, Sendable, CustomStringConvertible {
    /// S3's own codes as far as they matter here, and a few of ours; a bounded set, for metric labels.
    package enum Code: String, Sendable, CaseIterable {
        case accessDenied = "AccessDenied"
        case badDigest = "BadDigest"
        case clientDisconnect = "ClientDisconnect"
        case conditionalRequestConflict = "ConditionalRequestConflict"
        case contentHashMismatch = "XAmzContentSHA256Mismatch"
        case entityTooLarge = "EntityTooLarge"
        case entityTooSmall = "EntityTooSmall"
        case expiredRequest = "ExpiredRequest"
        case incompleteBody = "IncompleteBody"
        case internalError = "InternalError"
        case invalidAccessKeyID = "InvalidAccessKeyId"
        case invalidArgument = "InvalidArgument"
        case invalidBucketName = "InvalidBucketName"
        case invalidPart = "InvalidPart"
        case invalidPartOrder = "InvalidPartOrder"
        case invalidRequest = "InvalidRequest"
        case keyTooLong = "KeyTooLongError"
        case malformedXML = "MalformedXML"
        case metadataTooLarge = "MetadataTooLarge"
        case methodNotAllowed = "MethodNotAllowed"
        case missingContentLength = "MissingContentLength"
        case noSuchBucket = "NoSuchBucket"
        case noSuchKey = "NoSuchKey"
        case noSuchUpload = "NoSuchUpload"
        case notEntitled = "NotEntitled"
        case notImplemented = "NotImplemented"
        case objectLocked = "ObjectLockedByBucketPolicy"
        case operationAborted = "OperationAborted"
        case permanentRedirect = "PermanentRedirect"
        case preconditionFailed = "PreconditionFailed"
        case requestTimeout = "RequestTimeout"
        case requestTimeTooSkewed = "RequestTimeTooSkewed"
        case serviceUnavailable = "ServiceUnavailable"
        case signatureDoesNotMatch = "SignatureDoesNotMatch"
        case slowDown = "SlowDown"
        case tooManyRequests = "TooManyRequests"
        case unauthorized = "Unauthorized"
        /// An error status whose code is not among these.
        case other
        /// There was no complete answer; `transferError` says why.
        case transfer
        /// The answer was a success, but not what the operation has to answer.
        case malformedAnswer = "malformed_answer"
        /// The local file could not be read.
        case file
    }

    package var code: Code
    /// What failed, on what, why, and what helps.
    package var message: String
    /// The answer's, nil where there was none.
    package var status: Int?
    /// How long the answer asked to wait.
    package var retryAfter: Duration?
    /// Cloudflare's `cf-ray`, or S3's request id: what support asks for.
    package var requestID: String?
    package var transferError: TransferError?

    package init(
        code: Code,
        message: String,
        status: Int? = nil,
        retryAfter: Duration? = nil,
        requestID: String? = nil,
        transferError: TransferError? = nil
    ) {
        self.code = code
        self.message = message
        self.status = status
        self.retryAfter = retryAfter
        self.requestID = requestID
        self.transferError = transferError
    }

    /// Whether the same request may succeed later without anybody changing anything.
    ///
    /// `NoSuchUpload` and `PreconditionFailed` may not, yet neither is the end of a transfer: the one asks for a new
    /// upload, the other for a look at the object that is there.
    package var isRetryable: Bool {
        switch code {
        case .badDigest, .clientDisconnect, .conditionalRequestConflict, .contentHashMismatch, .incompleteBody,
            .internalError, .operationAborted, .requestTimeout, .serviceUnavailable, .slowDown, .tooManyRequests,
            .malformedAnswer:
            true
        case .accessDenied, .entityTooLarge, .entityTooSmall, .expiredRequest, .invalidAccessKeyID, .invalidArgument,
            .invalidBucketName, .invalidPart, .invalidPartOrder, .invalidRequest, .keyTooLong, .malformedXML,
            .metadataTooLarge, .methodNotAllowed, .missingContentLength, .noSuchBucket, .noSuchKey, .noSuchUpload,
            .notEntitled, .notImplemented, .objectLocked, .permanentRedirect, .preconditionFailed,
            .requestTimeTooSkewed, .signatureDoesNotMatch, .unauthorized, .file:
            false
        case .other: Self.isRetryable(status: status ?? 0)
        case .transfer: transferError?.isRetryable ?? false
        }
    }

    /// Whether it is certain that the storage did not act on the request. False means that it may or may not have.
    package var isOutcomeKnown: Bool {
        switch code {
        case .transfer: transferError?.isOutcomeKnown ?? false
        case .file: true
        case .malformedAnswer: false
        default: status.map { (300..<500).contains($0) || $0 == 501 } ?? false
        }
    }

    /// The surrounding task was cancelled while the exchange ran.
    package var isCancellation: Bool { transferError?.code == .cancelled }

    /// One word out of a bounded set, for metric labels and grouping.
    package var shortDescription: String {
        switch code {
        case .transfer: transferError?.shortDescription ?? code.rawValue
        case .other: status.map { "http_\($0)" } ?? code.rawValue
        default: code.rawValue
        }
    }

    package var description: String { message }

    private static func isRetryable(status: Int) -> Bool {
        switch status {
        case 408, 409, 425, 429: true
        // An error in a successful answer's body: S3 advises to try again.
        case 200..<300: true
        case 501: false
        default: status >= 500
        }
    }
}
