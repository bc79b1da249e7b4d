// clipbridge
// SPDX-License-Identifier: Apache-2.0

import OutboundHTTP

/// Why this side ended an exchange; recorded by whoever noticed, because libcurl reports only that a callback refused.
struct Failure: Error {
    var code: TransferError.Code
    var reason: String
}
