// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import CloudflareStream
import ObjectStorage
import OutboundHTTP

/// Why a transfer does not go on.
enum TransferStop: Error {
    case failed(ActionFailure)
    /// Somebody else has the clip now: nothing more may be changed.
    case leaseLost
    case cancelled

    static func permanent(_ code: String, _ message: String) -> TransferStop {
        .failed(ActionFailure(code: code, message: message, isRetryable: false))
    }

    static func retryable(_ code: String, _ message: String, after: Duration? = nil) -> TransferStop {
        .failed(ActionFailure(code: code, message: message, isRetryable: true, retryAfter: after))
    }

    static func waiting(_ code: String, _ message: String) -> TransferStop {
        .failed(ActionFailure(code: code, message: message, isRetryable: true, isWaiting: true))
    }

    init(_ error: StreamError) {
        self = error.code == .cancelled ? .cancelled : .failed(error.actionFailure)
    }

    init(_ error: ObjectStorageError) {
        if error.transferError?.code == .cancelled {
            self = .cancelled
        } else {
            self = .failed(
                ActionFailure(
                    code: "r2_\(error.shortDescription)", message: error.message, isRetryable: error.isRetryable,
                    retryAfter: error.retryAfter))
        }
    }

    /// A download that gave no complete answer.
    init(download error: TransferError, at bytes: UInt64, of total: UInt64?) {
        let place = total.map { "\(bytes) of \($0) bytes" } ?? "\(bytes) bytes"
        let text = "the download of the MP4 stopped at \(place): \(error.message)"
        switch error.code {
        case .cancelled: self = .cancelled
        case .diskFull: self = .waiting("spool_disk_full", "\(text); free space in CLIPBRIDGE_SPOOL_DIR")
        case .file: self = .waiting("spool_unwritable", "\(text); check CLIPBRIDGE_SPOOL_DIR")
        case .resolve, .connect, .connectTimeout, .tls, .lowSpeed, .timeout, .reset, .bodyTruncated, .bodyTooLarge,
            .protocolError, .addressRefused, .badURL, .stopped, .refused, .other:
            self = .failed(
                ActionFailure(
                    code: "download_\(error.shortDescription)", message: text, isRetryable: error.isRetryable))
        }
    }

    var outcome: ActionOutcome {
        switch self {
        case .failed(let failure): .failed(failure)
        case .leaseLost, .cancelled: .abandoned
        }
    }
}

extension TransferEngine {
    /// What an error of `run` says to whoever has no ledger; nil for one that is not of its making.
    package static func failure(_ error: any Error) -> ActionFailure? {
        if case .failed(let failure)? = error as? TransferStop { failure } else { nil }
    }
}
