// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Logging
import NIOConcurrencyHelpers

/// Says in the log what an operator should know, and says it once: neither a flood of forged deliveries nor a store
/// that is away may flood the log.
final class WebhookJournal: Sendable {
    private struct State {
        var lastWarning: Timestamp?
        var unreported = 0
        var isStoreAway = false
    }

    private static let warningInterval = Duration.seconds(60)

    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    init(logger: Logger) {
        self.logger = logger
    }

    func refused(_ label: WebhookAnswer.Label, at now: Timestamp) {
        logger.debug("delivery refused", metadata: ["webhook.error": "\(label.rawValue)"])
        let count = state.withLockedValue { state -> Int? in
            state.unreported += 1
            if let last = state.lastWarning, last <= now, now - last < Self.warningInterval { return nil }
            state.lastWarning = now
            defer { state.unreported = 0 }
            return state.unreported
        }
        guard let count else { return }
        logger.warning(
            "deliveries with a bad signature: forged, or the secret or the clock is wrong",
            metadata: ["webhook.error": "\(label.rawValue)", "webhook.count": "\(count)"]
        )
    }

    func stored(_ receipt: DeliveryReceipt, uid: ClipUID?, as label: WebhookAnswer.Label, trace: TraceID) {
        if logger.logLevel <= .debug {
            let id: String =
                switch receipt {
                case .stored(let id), .duplicate(let id): id
                }
            logger.debug(
                "delivery stored",
                metadata: [
                    "clip.uid": "\(uid?.rawValue ?? "")", "delivery.id": "\(id)",
                    "webhook.outcome": "\(label.rawValue)", "trace.id": "\(trace)",
                ])
        }
        if setStoreAway(false) { logger.info("deliveries are stored again") }
    }

    func notStored(_ failure: BoundedLedger.Failure) {
        guard setStoreAway(true) else { return }
        let reason =
            switch failure {
            case .busy: "too many are waiting"
            case .timedOut: "no answer in time"
            case .failed(let error): String(describing: error)
            }
        logger.error("deliveries can not be stored, senders are told to come back", metadata: ["error": "\(reason)"])
    }

    /// Whether that is news.
    private func setStoreAway(_ isAway: Bool) -> Bool {
        state.withLockedValue { state in
            defer { state.isStoreAway = isAway }
            return state.isStoreAway != isAway
        }
    }
}
