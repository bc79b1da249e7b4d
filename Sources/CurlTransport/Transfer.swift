// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import HTTPTypes
import OutboundHTTP

/// Names a transfer across threads.
struct TransferID: Hashable, Sendable {
    private static let counter = TransferCounter()
    private let number = counter.next()
}

/// One libcurl exchange. Owns its easy handle, header list and error buffer from `init` to `deinit`; `CurlDriver` holds
/// it while libcurl does, so callbacks get it unretained.
final class Transfer {
    typealias Continuation = CheckedContinuation<Result<OutboundResponse, TransferError>, Never>

    let id: TransferID
    let easy: UnsafeMutableRawPointer
    let request: OutboundRequest
    let host: String
    let limiter: BandwidthLimiter
    /// At most this much of a file's body is handed over at a time.
    let uploadFillBytesMax: Int
    let errorBuffer: UnsafeMutablePointer<CChar>
    var headerList: UnsafeMutablePointer<curl_slist>?

    var reader: RequestBodyReader
    var writer: ResponseBodyWriter
    var parser = HeadParser()
    /// Set by the callback that ended the exchange; libcurl then reports only that it was told to.
    var failure: Failure?
    /// One kept connection turned out dead; the transfer now runs on one of its own.
    var hasStartedOver = false
    var addressesRefused = 0
    var addressesAllowed = 0

    init(
        id: TransferID, request: OutboundRequest, settings: TransferSettings, limiter: BandwidthLimiter
    ) throws(TransferError) {
        let label = request.method.rawValue
        let isTLS: Bool
        do throws(Failure) {
            let url = try TargetURL(request.url)
            guard request.method != .head || !request.body.isPresent else {
                throw Failure(code: .other, reason: "a HEAD request carries no body")
            }
            self.reader = try RequestBodyReader(request.body)
            self.host = url.host
            isTLS = url.isTLS
        } catch {
            throw TransferError(code: error.code, message: "\(label) was not sent: \(error.reason)")
        }
        guard let easy = curl_easy_init() else {
            throw TransferError(code: .other, message: "\(label) to \"\(host)\" was not sent: libcurl has no memory")
        }
        self.id = id
        self.easy = easy
        self.request = request
        self.limiter = limiter
        self.uploadFillBytesMax = TransferBuffers.uploadFill(bytesPerSecondMax: settings.uploadBytesPerSecondMax)
        self.writer = ResponseBodyWriter(request.sink)
        self.errorBuffer = .allocate(capacity: Int(CURL_ERROR_SIZE))
        self.errorBuffer.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        do throws(Failure) {
            try configure(settings, isTLS: isTLS)
        } catch {
            throw ended(error)
        }
    }

    deinit {
        curl_easy_cleanup(easy)
        curl_slist_free_all(headerList)
        errorBuffer.deallocate()
    }
}

extension OutboundBody {
    /// Whether there is anything to send, even if it is nothing long.
    var isPresent: Bool {
        if case .none = self { false } else { true }
    }

    var isFile: Bool {
        if case .file = self { true } else { false }
    }
}

extension ResponseSink {
    var isFile: Bool {
        if case .file = self { true } else { false }
    }
}
