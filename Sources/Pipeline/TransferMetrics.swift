// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Metrics

/// What transfers move, in bytes.
package struct TransferMetrics: Sendable {
    private let received = Counter(label: "clipbridge_transfer_bytes_total", dimensions: [("direction", "download")])
    private let sent = Counter(label: "clipbridge_transfer_bytes_total", dimensions: [("direction", "upload")])
    private let again = Counter(label: "clipbridge_redownloaded_bytes_total")

    func moved(received bytesReceived: UInt64, sent bytesSent: UInt64) {
        if bytesReceived > 0 { received.increment(by: Int64(clamping: bytesReceived)) }
        if bytesSent > 0 { sent.increment(by: Int64(clamping: bytesSent)) }
    }

    /// Bytes that were fetched before and have to be fetched again.
    func redownloaded(_ bytes: UInt64) {
        if bytes > 0 { again.increment(by: Int64(clamping: bytes)) }
    }
}
