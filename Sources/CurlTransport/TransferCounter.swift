// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Numbers that never come twice in a process.
final class TransferCounter: Sendable {
    private let value = Atomic<UInt64>(0)

    func next() -> UInt64 {
        value.wrappingAdd(1, ordering: .relaxed).newValue
    }
}
