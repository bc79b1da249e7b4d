// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Crypto
import FoundationEssentials
import HTTPTypes
import Logging
import ObjectStorage
import OutboundHTTP

/// Sends webhooks as Cloudflare does: signed, and repeated a few times where nobody takes them.
struct WebhookSender: Sendable {
    let subscriptions: WebhookSubscriptions
    let transport: any HTTPTransport
    let faults: FaultPlan
    let backoff: Duration
    let clock: any WallClock
    let logger: Logger

    private static let attemptsMax = 5

    func deliver(_ body: [UInt8], uid: String) async {
        let strike = faults.strike(on: [.webhook])
        if strike.latency > .zero { try? await clock.sleep(for: strike.latency) }
        switch strike.kind {
        case .drop: return
        case .duplicate:
            await attempt(body, uid: uid)
            await attempt(body, uid: uid)
        case .latency, .status, .reset, .truncate, .stall, nil: await attempt(body, uid: uid)
        }
    }

    /// Up to five times, until somebody takes it.
    private func attempt(_ body: [UInt8], uid: String) async {
        for attempt in 1...Self.attemptsMax {
            guard let subscription = subscriptions.current else { return }
            if await isTaken(body, by: subscription) { return }
            logger.debug("webhook was not taken", metadata: ["clip.uid": "\(uid)", "attempt": "\(attempt)"])
            guard attempt < Self.attemptsMax else { return }
            do {
                try await clock.sleep(for: backoff * (1 << (attempt - 1)))
            } catch {
                return
            }
        }
    }

    private func isTaken(_ body: [UInt8], by subscription: WebhookSubscriptions.Subscription) async -> Bool {
        let time = clock.now().seconds
        let headers: HTTPFields = [
            .contentType: "application/json",
            .userAgent: "clipbridge-sandbox",
            .webhookSignature: Self.signature(of: body, time: time, secret: subscription.secret),
        ]
        let request = OutboundRequest(method: .post, url: subscription.url, headers: headers, body: .bytes(body))
        do {
            return try await transport.send(request).isSuccess
        } catch {
            return false
        }
    }

    /// `time=…,sig1=…` over the time, a full stop and the body; the key is the secret's own text.
    static func signature(of body: [UInt8], time: Int64, secret: String) -> String {
        var code = HMAC<SHA256>(key: SymmetricKey(data: Data(secret.utf8)))
        code.update(data: Data("\(time).".utf8))
        code.update(data: body)
        return "time=\(time),sig1=\(hexadecimal(code.finalize()))"
    }
}
