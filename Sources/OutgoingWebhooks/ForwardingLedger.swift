// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// Stores deliveries so that each is also passed on, once, to the targets.
package struct ForwardingLedger: DeliveryLedger {
    private let ledger: any DeliveryLedger
    private let targets: [String]
    private let onStored: @Sendable () -> Void

    /// - Parameters:
    ///   - targets: their ids.
    ///   - onStored: runs after there is something to pass on, and has to return at once.
    package init(
        ledger: any DeliveryLedger, targets: [String], onStored: @escaping @Sendable () -> Void
    ) {
        self.ledger = ledger
        self.targets = targets
        self.onStored = onStored
    }

    package func record(
        _ delivery: NewDelivery, onEnd: @escaping @Sendable (Result<DeliveryReceipt, any Error>) -> Void
    ) {
        var delivery = delivery
        delivery.forwardTargets = targets
        ledger.record(delivery) { [onStored] result in
            if case .success(.stored) = result { onStored() }
            onEnd(result)
        }
    }
}
