// clipbridge
// SPDX-License-Identifier: Apache-2.0

public import HTTPTypes

/// The one way out: performs a single HTTP exchange. It follows no redirect and retries nothing; both are decisions
/// of the caller, who knows which host may be asked and what an attempt costs.
///
/// An HTTP error status is an answer, not an error. `TransferError` is thrown only when there is no complete answer.
/// Cancelling the surrounding task ends the exchange and throws `TransferError` with code `.cancelled`.
public protocol HTTPTransport: Sendable {
    func send(_ request: OutboundRequest) async throws(TransferError) -> OutboundResponse
}

/// One request, with everything that bounds it.
public struct OutboundRequest: Sendable {
    public var method: HTTPRequest.Method
    /// Absolute `http` or `https` URL, already percent-encoded; it is sent as it stands.
    public var url: String
    /// Sent in this order, and nothing but these and what HTTP demands (`Host`, `Content-Length`).
    public var headers: HTTPFields
    public var body: OutboundBody
    public var sink: ResponseSink
    public var limits: TransferLimits
    /// Which connected addresses are acceptable.
    public var addressPolicy: AddressPolicy
    /// Counts this exchange's body bytes while it runs.
    public var meter: TransferMeter?

    public init(
        method: HTTPRequest.Method = .get,
        url: String,
        headers: HTTPFields = [:],
        body: OutboundBody = .none,
        sink: ResponseSink = .memory(bytesMax: 1 << 20),
        limits: TransferLimits = .call,
        addressPolicy: AddressPolicy = .any,
        meter: TransferMeter? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.sink = sink
        self.limits = limits
        self.addressPolicy = addressPolicy
        self.meter = meter
    }
}

/// What is sent. The length is always known before, so `Content-Length` is always sent and nothing is ever chunked.
public enum OutboundBody: Sendable {
    case none
    case bytes([UInt8])
    /// `length` bytes of the file at `path` from `offset`, read while sending; never held in memory as a whole.
    case file(path: String, offset: UInt64, length: UInt64)
}

/// Where a response's body goes.
public enum ResponseSink: Sendable {
    /// Collected; more than `bytesMax` ends the exchange with `.bodyTooLarge`.
    case memory(bytesMax: Int)
    /// Written to a file if `place` says so once the head is known; otherwise collected, cut at 64 KiB.
    case file(FileSink)
}

/// A file that takes a download's bytes by positioned writes.
public struct FileSink: Sendable {
    /// What to do with the body of the response whose head just arrived.
    public enum Placement: Sendable, Equatable {
        /// Write from this offset on; the file is first cut to it.
        case write(offset: UInt64)
        /// Not the wanted file (an error's body, a redirect): collect it in memory, cut at 64 KiB.
        case collect
        /// End the exchange before the body: it throws `.refused`.
        case refuse
    }

    public var path: String
    /// More than this many bytes in the file ends the exchange with `.bodyTooLarge`.
    public var fileBytesMax: UInt64
    /// Sees what was written, on the transport's thread: in order, before it is counted.
    public var observer: (any FileObserver)?
    /// Runs on the transport's thread: decide from the head alone and return.
    public var place: @Sendable (ResponseHead) -> Placement

    public init(
        path: String,
        fileBytesMax: UInt64 = .max,
        observer: (any FileObserver)? = nil,
        place: @escaping @Sendable (ResponseHead) -> Placement
    ) {
        self.path = path
        self.fileBytesMax = fileBytesMax
        self.observer = observer
        self.place = place
    }
}

/// Is shown the bytes of a download while they are in the processor's cache.
public protocol FileObserver: Sendable {
    /// `bytes` are in the file from `offset` on.
    func wrote(_ bytes: RawSpan, at offset: UInt64)
}

/// Status and header fields of a final (not 1xx) response.
public struct ResponseHead: Sendable, Equatable {
    public var status: Int
    public var headers: HTTPFields
    /// From `Content-Length`, nil where the server did not say.
    public var contentLength: UInt64?

    public init(status: Int, headers: HTTPFields = [:], contentLength: UInt64? = nil) {
        self.status = status
        self.headers = headers
        self.contentLength = contentLength
    }
}

/// A complete answer.
public struct OutboundResponse: Sendable {
    public var head: ResponseHead
    /// What was collected in memory; empty when the body went to a file.
    public var body: [UInt8]
    /// Bytes of body written to the file, nil when it was collected.
    public var bytesWritten: UInt64?

    public init(head: ResponseHead, body: [UInt8] = [], bytesWritten: UInt64? = nil) {
        self.head = head
        self.body = body
        self.bytesWritten = bytesWritten
    }

    public var status: Int { head.status }
    public var isSuccess: Bool { (200..<300).contains(head.status) }
}

/// Which addresses a connection may end at; judged on the address itself, after name resolution.
public enum AddressPolicy: Sendable, Equatable {
    case any
    /// Loopback, private, link-local, carrier-grade NAT and other special ranges are refused with `.addressRefused`.
    case publicOnly
}

/// The time limits of one exchange. All are explicit: none of libcurl's own defaults is relied on.
public struct TransferLimits: Sendable, Equatable {
    /// To a connected, TLS-ready socket.
    public var connect: Duration
    /// Fewer than `lowSpeedBytesPerSecond` for this long ends the exchange.
    public var lowSpeed: Duration
    public var lowSpeedBytesPerSecond: Int
    public var total: Duration

    public init(connect: Duration, lowSpeed: Duration, lowSpeedBytesPerSecond: Int, total: Duration) {
        self.connect = connect
        self.lowSpeed = lowSpeed
        self.lowSpeedBytesPerSecond = lowSpeedBytesPerSecond
        self.total = total
    }

    /// A JSON call.
    public static let call = TransferLimits(
        connect: .seconds(10), lowSpeed: .seconds(20), lowSpeedBytesPerSecond: 1, total: .seconds(30))
    /// A file of any size: nothing but silence ends it within a day.
    public static let file = TransferLimits(
        connect: .seconds(10), lowSpeed: .seconds(30), lowSpeedBytesPerSecond: 1024, total: .seconds(86_400))
}
