// clipbridge
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes

/// A refusal in S3's terms.
struct S3Error: Error, Sendable, Equatable {
    var status: Int
    var code: String
    var message: String
    /// For 416: the size that the range missed.
    var objectSize: UInt64?

    init(_ status: Int, _ code: String, _ message: String, objectSize: UInt64? = nil) {
        self.status = status
        self.code = code
        self.message = message
        self.objectSize = objectSize
    }

    static func accessDenied(_ message: String) -> S3Error { S3Error(403, "AccessDenied", message) }
    static let invalidAccessKeyID = S3Error(
        403, "InvalidAccessKeyId", "The access key id you provided does not exist in our records.")
    static let signatureDoesNotMatch = S3Error(
        403, "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided."
            + " Check your secret access key and signing method.")
    static let requestTimeTooSkewed = S3Error(
        403, "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large.")
    static let expired = S3Error(400, "ExpiredRequest", "Request has expired.")
    static let authorizationMalformed = S3Error(
        400, "AuthorizationHeaderMalformed", "The authorization header you provided is invalid.")
    static let signatureV2 = S3Error(
        401, "Unauthorized", "SigV2 authorization is not supported. Please use SigV4 instead.")

    static func invalidRequest(_ message: String) -> S3Error { S3Error(400, "InvalidRequest", message) }
    static func invalidArgument(_ message: String) -> S3Error { S3Error(400, "InvalidArgument", message) }
    static func notImplemented(_ what: String) -> S3Error { S3Error(501, "NotImplemented", "\(what) not implemented") }
    static let methodNotAllowed = S3Error(
        405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
    static let malformedXML = S3Error(
        400, "MalformedXML",
        "The XML you provided was not well formed or did not validate against our published schema.")

    static let noSuchBucket = S3Error(404, "NoSuchBucket", "The specified bucket does not exist.")
    static let noSuchKey = S3Error(404, "NoSuchKey", "The specified key does not exist.")
    static let noSuchUpload = S3Error(
        404, "NoSuchUpload",
        "The specified multipart upload does not exist. The upload ID may be invalid,"
            + " or the upload may have been aborted or completed.")
    static let invalidBucketName = S3Error(400, "InvalidBucketName", "The specified bucket name is not valid.")
    static let bucketExists = S3Error(
        409, "BucketAlreadyOwnedByYou", "The bucket you tried to create already exists, and you own it.")
    static let bucketNotEmpty = S3Error(409, "BucketNotEmpty", "The bucket you tried to delete is not empty.")
    static let keyTooLong = S3Error(400, "KeyTooLongError", "Your key is too long.")
    static let metadataTooLarge = S3Error(
        400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.")

    static let missingContentLength = S3Error(
        411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    static let incompleteBody = S3Error(
        400, "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header.")
    static let entityTooLarge = S3Error(
        400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
    static let entityTooSmall = S3Error(
        400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
    static let invalidDigest = S3Error(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")
    static let contentSHA256Mismatch = S3Error(
        400, "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.")

    static func badDigest(_ what: String) -> S3Error {
        S3Error(400, "BadDigest", "The \(what) you specified did not match what we received.")
    }

    static let invalidPart = S3Error(
        400, "InvalidPart", "One or more of the specified parts could not be found.")
    static let unequalParts = S3Error(
        400, "InvalidPart", "All non-trailing parts must have the same length.")
    static let preconditionFailed = S3Error(
        412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
    static let notModified = S3Error(304, "NotModified", "Not Modified")
    static let tooManyRequests = S3Error(
        429, "TooManyRequests", "Reduce your rate of requests.")

    static func invalidRange(size: UInt64) -> S3Error {
        S3Error(416, "InvalidRange", "The requested range is not satisfiable.", objectSize: size)
    }

    /// What a fault of this status is called, unless it has a code of its own.
    static func fault(_ status: Int, code: String? = nil) -> S3Error {
        if let code { return S3Error(status, code, "Fault \(status).") }
        return switch status {
        case 429: tooManyRequests
        case 500: S3Error(500, "InternalError", "We encountered an internal error. Please try again.")
        case 503: S3Error(503, "ServiceUnavailable", "Please reduce your request rate.")
        default: S3Error(status, status < 500 ? "InvalidRequest" : "InternalError", "Fault \(status).")
        }
    }
}
