// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import HTTPTypes
import OutboundHTTP

/// How a transfer's end is told.
extension Transfer {
    /// libcurl's result, with what the callbacks recorded.
    func finished(_ code: CURLcode) -> Result<OutboundResponse, TransferError> {
        guard code == CURLE_OK else { return .failure(error(code)) }
        guard let head = parser.head else {
            return .failure(ended(Failure(code: .protocolError, reason: "the answer has no head")))
        }
        do throws(Failure) {
            try metered { () throws(Failure) in try writer.finish() }
        } catch {
            return .failure(ended(error))
        }
        return .success(OutboundResponse(head: head, body: writer.collected, bytesWritten: writer.bytesWritten))
    }

    /// The error of a transfer that this side ended.
    func ended(_ failure: Failure, curlCode: Int? = nil) -> TransferError {
        // Where even that fails, the bytes do not count, and this failure is the one to tell.
        try? flush()
        let suffix = curlCode.map { " (curl \($0))" } ?? ""
        return TransferError(
            code: failure.code,
            message: "\(request.method.rawValue) to \"\(host)\" \(progress): \(failure.reason)\(suffix)",
            curlCode: curlCode,
            bytesReceived: writer.bytesInPlace,
            bytesSent: reader.position
        )
    }

    private func error(_ code: CURLcode) -> TransferError {
        let number = Int(code.rawValue)
        // What a callback recorded is the cause, and libcurl's code then only says that a callback ended it.
        if let failure { return ended(failure) }
        if code == CURLE_COULDNT_CONNECT, addressesRefused > 0, addressesAllowed == 0 {
            return ended(Self.addressRefused, curlCode: number)
        }
        let detail = String(cString: errorBuffer)
        if code == CURLE_OPERATION_TIMEDOUT { return ended(timeout(detail: detail), curlCode: number) }
        let reason = CurlResult.reason(code, detail: detail)
        // Over HTTP/2 libcurl calls a connection that went away before the head a partial file too.
        let isCut = code == CURLE_PARTIAL_FILE && parser.head == nil
        let kind = isCut ? .reset : CurlResult.code(code, detail: reason)
        return ended(Failure(code: kind, reason: reason), curlCode: number)
    }

    /// libcurl has one code for all its time limits; which one it was shows in how far the transfer had come and in
    /// libcurl's words.
    private func timeout(detail: String) -> Failure {
        let limits = request.limits
        if ccurl_get_pretransfer_us(easy) == 0 {
            return Failure(code: .connectTimeout, reason: "no connection within \(min(limits.connect, limits.total))")
        }
        if CurlResult.isLowSpeed(detail) {
            let speed = grouped(UInt64(clamping: limits.lowSpeedBytesPerSecond))
            return Failure(code: .lowSpeed, reason: "slower than \(speed) bytes/s for \(limits.lowSpeed)")
        }
        return Failure(code: .timeout, reason: "not done within \(limits.total)")
    }

    private var progress: String {
        let received = writer.bytesReceived
        if let length = parser.head?.contentLength {
            return "stopped at \(grouped(received)) of \(grouped(length)) bytes"
        }
        if received > 0 { return "stopped at \(grouped(received)) bytes" }
        if reader.position > 0 {
            return "stopped after sending \(grouped(reader.position)) of \(grouped(reader.length)) bytes"
        }
        return "failed"
    }
}
