// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import HTTPTypes
import OutboundHTTP

/// What one try of a message sends.
///
/// Cloudflare's signature header and that of Standard Webhooks have one name. A delivery keeps Cloudflare's, so that a
/// receiver made for Cloudflare takes it as it is, and ours goes beside it under a name of its own.
struct OutgoingRequest {
    private static let limits = TransferLimits(
        connect: .seconds(10), lowSpeed: .seconds(15), lowSpeedBytesPerSecond: 1, total: .seconds(15))
    /// An answer's body tells nothing that is needed; a short one is taken, so that the connection can be kept.
    private static let answerBytesMax: UInt64 = 4 << 10

    let target: OutgoingTarget
    let id: String
    let headers: HTTPFields
    let body: [UInt8]

    init(
        _ outgoing: OutgoingMessage, body: [UInt8], to target: OutgoingTarget, signer: MessageSigner?, at now: Timestamp
    ) {
        let message = outgoing.message
        self.target = target
        self.body = body
        // The time of creation keeps it apart from that of another store with the same numbers.
        id = "msg_\(target.id)_\(message.source)_\(message.createdAt.milliseconds)"
        var headers: HTTPFields = [.contentType: "application/json"]
        if let signer {
            headers[.webhookID] = id
            headers[.webhookTimestamp] = String(now.seconds)
            let signature = signer.signature(id: id, time: now, body: body)
            headers[message.kind == .status ? .webhookSignature : .clipbridgeSignature] = signature
        }
        if message.kind == .delivery { headers[.webhookSignature] = outgoing.signatureHeader }
        self.headers = headers
    }

    func outbound(_ head: HeadBox) -> OutboundRequest {
        let sink = FileSink(path: "") { answer in
            head.set(answer)
            return answer.contentLength.map { $0 <= Self.answerBytesMax } ?? false ? .collect : .refuse
        }
        return OutboundRequest(
            method: .post, url: target.url, headers: headers, body: .bytes(body), sink: .file(sink),
            limits: Self.limits, addressPolicy: target.addressPolicy)
    }
}

extension HTTPField.Name {
    // Literals of token characters.
    static let webhookID = HTTPField.Name("webhook-id")!
    static let webhookTimestamp = HTTPField.Name("webhook-timestamp")!
    static let webhookSignature = HTTPField.Name("webhook-signature")!
    static let clipbridgeSignature = HTTPField.Name("clipbridge-signature")!
}
