// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers
import OutboundHTTP

/// Keeps an answer's head when its body is not wanted and ends the exchange.
final class HeadBox: Sendable {
    private let box = NIOLockedValueBox<ResponseHead?>(nil)

    var head: ResponseHead? { box.withLockedValue { $0 } }

    func set(_ head: ResponseHead) { box.withLockedValue { $0 = head } }
}
