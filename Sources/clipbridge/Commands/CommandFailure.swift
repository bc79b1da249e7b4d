// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipStore
import CloudflareStream
import ObjectStorage
import OutboundHTTP

/// Why a command ends without success: words for standard error, and the contract's exit code.
struct CommandFailure: Error {
    enum Code: Int32 {
        case failed = 1
        case usage = 64
        case unavailable = 69
        case refused = 77
        case configuration = 78
    }

    var code: Code
    var message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// What any error means to whoever called the program; nil for one that the parser of arguments knows best.
    init?(_ error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as SettingsError: self.init(.configuration, error.description)
        case let error as StoreError: self.init(Self.code(of: error), error.message)
        case let error as StreamError:
            self.init(error.code == .unauthorized ? .refused : Self.code(retryable: error.isRetryable), error.message)
        case let error as ObjectStorageError:
            self.init(error.isRefusal ? .refused : Self.code(retryable: error.isRetryable), error.message)
        case let error as TransferError: self.init(.unavailable, error.message)
        default: return nil
        }
    }

    private static func code(of error: StoreError) -> Code {
        switch error.code {
        case .unavailable, .rowHeld, .inUse, .noSchema: .unavailable
        case .newerSchema, .unsuitableTable: .configuration
        case .forbidden: .refused
        case .corrupt: .failed
        }
    }

    private static func code(retryable: Bool) -> Code { retryable ? .unavailable : .failed }
}

extension ObjectStorageError {
    /// The key was refused, not the request.
    var isRefusal: Bool {
        switch code {
        case .accessDenied, .invalidAccessKeyID, .signatureDoesNotMatch, .unauthorized, .notEntitled: true
        default: status == 401 || status == 403
        }
    }
}
