// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Why an exchange gave no complete answer.
public struct TransferError: Error, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable, CaseIterable {
        case resolve, connect, connectTimeout = "connect_timeout", tls, lowSpeed = "low_speed", timeout
        case reset, bodyTruncated = "body_truncated", bodyTooLarge = "body_too_large", protocolError = "protocol"
        case addressRefused = "address_refused", badURL = "bad_url", cancelled, stopped, refused
        case diskFull = "disk_full", file, other
    }

    public var code: Code
    /// What failed, on what host, and why, in words; it never holds a URL's path or query.
    public var message: String
    /// libcurl's own number, where it came from there.
    public var curlCode: Int?
    /// Of the response's body; where it goes to a file, what reached the file, so that a next request can go on there.
    public var bytesReceived: UInt64
    /// Of the request's body: handed over to be sent, which is not yet received by anybody.
    public var bytesSent: UInt64

    public init(
        code: Code, message: String, curlCode: Int? = nil, bytesReceived: UInt64 = 0, bytesSent: UInt64 = 0
    ) {
        self.code = code
        self.message = message
        self.curlCode = curlCode
        self.bytesReceived = bytesReceived
        self.bytesSent = bytesSent
    }

    /// Whether the same exchange may succeed later without anybody changing anything.
    public var isRetryable: Bool {
        switch code {
        case .resolve, .connect, .connectTimeout, .lowSpeed, .timeout, .reset, .bodyTruncated, .protocolError,
            .cancelled, .stopped, .diskFull, .other:
            true
        case .tls, .bodyTooLarge, .addressRefused, .badURL, .file, .refused:
            false
        }
    }

    /// Whether the peer can not have acted on the request. False means that it may or may not have.
    public var isOutcomeKnown: Bool {
        switch code {
        case .resolve, .connect, .connectTimeout, .tls, .addressRefused, .badURL: true
        case .lowSpeed, .timeout, .reset, .bodyTruncated, .bodyTooLarge, .protocolError, .cancelled, .stopped,
            .diskFull, .file, .refused, .other:
            false
        }
    }

    /// One word out of a bounded set, for metric labels and grouping.
    public var shortDescription: String { code.rawValue }

    public var description: String { message }
}
