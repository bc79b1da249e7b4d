// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import HTTPTypes
public import Logging
public import OutboundHTTP

/// `HTTPTransport` over libcurl: one thread, kept connections, HTTP/2 over TLS where it is offered, HTTP/1.1 for files.
///
/// It follows no redirect, retries nothing, keeps no cookie, reads no `.netrc`, and trusts the system's authorities.
/// The thread lives as long as the transport does and sleeps while there is nothing to do.
///
/// One thing happens twice without the caller: where a kept connection turns out dead before a byte of the answer
/// came, the request is sent again on a new one, body and all; over HTTP/2 only where its method is idempotent.
public final class CurlTransport: HTTPTransport {
    public struct Configuration: Sendable {
        /// Sent where a request has no `User-Agent` of its own.
        public var userAgent: String
        /// A PEM file of authorities that are trusted beside the system's.
        public var extraAuthoritiesFile: String?
        public var proxy: Proxy
        /// Connections kept open for the next transfer.
        public var idleConnectionsMax: Int
        /// Of all running transfers together whose answer goes to a file; nil or 0 for no limit. Calls are not limited.
        public var downloadBytesPerSecondMax: UInt64?
        /// Of all running transfers together whose body comes from a file; nil or 0 for no limit.
        public var uploadBytesPerSecondMax: UInt64?
        /// Of the transport's thread, as debuggers and `top` show it; 15 bytes at most.
        public var threadName: String

        public init(
            userAgent: String = "clipbridge",
            extraAuthoritiesFile: String? = nil,
            proxy: Proxy = .environment,
            idleConnectionsMax: Int = 32,
            downloadBytesPerSecondMax: UInt64? = nil,
            uploadBytesPerSecondMax: UInt64? = nil,
            threadName: String = "curl-loop"
        ) {
            self.userAgent = userAgent
            self.extraAuthoritiesFile = extraAuthoritiesFile
            self.proxy = proxy
            self.idleConnectionsMax = idleConnectionsMax
            self.downloadBytesPerSecondMax = downloadBytesPerSecondMax
            self.uploadBytesPerSecondMax = uploadBytesPerSecondMax
            self.threadName = threadName
        }
    }

    /// Where requests go through a proxy. Loopback is always reached directly, and so is every request under
    /// `AddressPolicy.publicOnly`, whose check would otherwise judge the proxy's address.
    public enum Proxy: Sendable, Equatable {
        /// As libcurl reads `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`.
        case environment
        case none
    }

    private let executor: LoopExecutor
    private let loop: TransferLoop
    private let logger: Logger

    public init(configuration: Configuration = Configuration(), logger: Logger) throws(TransferError) {
        try CurlLibrary.start()
        self.executor = LoopExecutor()
        self.loop = try TransferLoop(executor: executor, settings: TransferSettings(configuration))
        self.logger = logger
        try executor.start(loop, threadName: configuration.threadName)
    }

    deinit {
        // Nobody awaits `send` any more, because that holds the transport.
        executor.close()
    }

    public func send(_ request: OutboundRequest) async throws(TransferError) -> OutboundResponse {
        let result = await loop.run(request)
        log(request, result)
        return try result.get()
    }

    /// Ends every running transfer with `.stopped`, and every later one at once.
    public func stop() async {
        await loop.stop()
    }

    private func log(_ request: OutboundRequest, _ result: Result<OutboundResponse, TransferError>) {
        switch result {
        case .success(let response):
            logger.debug(
                "transfer done",
                metadata: [
                    LogKey.method: "\(request.method.rawValue)",
                    LogKey.host: "\(TargetURL.host(of: request.url))",
                    LogKey.status: "\(response.status)",
                    LogKey.bytes: "\(response.bytesWritten ?? UInt64(response.body.count))",
                ]
            )
        case .failure(let error):
            logger.debug(
                "transfer ended without an answer",
                metadata: [
                    LogKey.method: "\(request.method.rawValue)",
                    LogKey.error: "\(error.shortDescription)",
                    LogKey.reason: "\(error)",
                ]
            )
        }
    }
}

/// Metadata keys of this target.
enum LogKey {
    static let method = "transfer.method"
    static let host = "transfer.host"
    static let status = "transfer.status"
    static let bytes = "transfer.bytes"
    static let error = "transfer.error"
    static let reason = "transfer.reason"
}

/// libcurl's one-time set-up for the process.
enum CurlLibrary {
    private static let started = ccurl_global_init()

    static func start() throws(TransferError) {
        guard started == CURLE_OK else {
            let reason = String(cString: curl_easy_strerror(started))
            throw TransferError(
                code: .other,
                message: "libcurl could not be set up: \(reason)",
                curlCode: Int(started.rawValue)
            )
        }
        guard ccurl_has_tls() != 0 else {
            throw TransferError(code: .other, message: "this libcurl was built without TLS")
        }
    }
}
