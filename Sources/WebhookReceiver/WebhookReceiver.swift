// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import Crypto
import HTTPTypes
package import Hummingbird
package import Logging
package import Metrics
import NIOCore

/// Takes Cloudflare's webhook deliveries: read while counting, verify over the raw bytes, then interpret, then store,
/// then answer. Nothing is decoded and the store is not touched before the signature is verified.
package struct WebhookReceiver: Sendable {
    package struct Configuration: Sendable {
        /// Any of them may match.
        package var secrets: WebhookSecrets
        package var tolerance: Duration
        package var bodyBytesMax: Int
        /// How much of all bodies together, beyond the first 16 KiB of each, may be in memory.
        package var heldBytesMax: Int
        /// How long a delivery waits for the store.
        package var storeTimeLimit: Duration
        /// How many deliveries may wait for the store at once.
        package var waitingMax: Int
        /// What a sender is told to wait when the store is not there.
        package var retryAfterSeconds: Int

        package init(
            secrets: WebhookSecrets,
            tolerance: Duration = .seconds(300),
            bodyBytesMax: Int = 256 << 10,
            heldBytesMax: Int = 64 << 20,
            storeTimeLimit: Duration = .seconds(10),
            waitingMax: Int = 4_096,
            retryAfterSeconds: Int = 5
        ) {
            self.secrets = secrets
            self.tolerance = tolerance
            self.bodyBytesMax = bodyBytesMax
            self.heldBytesMax = heldBytesMax
            self.storeTimeLimit = storeTimeLimit
            self.waitingMax = waitingMax
            self.retryAfterSeconds = retryAfterSeconds
        }
    }

    package static let path = "/webhooks/cloudflare-stream"

    private let configuration: Configuration
    private let verifier: WebhookVerifier
    private let ledger: BoundedLedger
    private let room: BodyRoom
    private let clock: any WallClock
    private let metrics: WebhookMetrics
    private let journal: WebhookJournal
    private let onStored: @Sendable () -> Void
    private let onMismatch: @Sendable () -> Void

    /// - Parameters:
    ///   - onStored: runs after an accepted delivery and its signal became durable; it must return at once.
    ///   - onMismatch: runs after a delivery was refused because no secret fits; it must return at once.
    package init(
        configuration: Configuration,
        ledger: any DeliveryLedger,
        clock: any WallClock = SystemWallClock(),
        logger: Logger,
        metrics: any MetricsFactory = MetricsSystem.factory,
        onStored: @escaping @Sendable () -> Void,
        onMismatch: @escaping @Sendable () -> Void = {}
    ) {
        self.configuration = configuration
        self.verifier = WebhookVerifier(secrets: configuration.secrets, tolerance: configuration.tolerance)
        self.ledger = BoundedLedger(
            ledger: ledger,
            clock: clock,
            timeLimit: configuration.storeTimeLimit,
            waitingMax: configuration.waitingMax
        )
        self.room = BodyRoom(bytesMax: configuration.heldBytesMax)
        self.clock = clock
        self.metrics = WebhookMetrics(factory: metrics)
        self.journal = WebhookJournal(logger: logger)
        self.onStored = onStored
        self.onMismatch = onMismatch
    }

    package func addRoutes<Context: RequestContext>(to router: some RouterMethods<Context>) {
        let path = RouterPath(Self.path)
        router.on(path, method: .post) { request, _ in try await respond(to: request) }
        for method: HTTPRequest.Method in [.get, .head, .put, .delete, .connect, .options, .trace, .patch] {
            router.on(path, method: method) { _, _ in
                let response = finish(.methodNotAllowed).response
                return method == .head ? response.createHeadResponse() : response
            }
        }
    }

    private func respond(to request: Request) async throws -> Response {
        let length = request.headers[.contentLength].flatMap(Int.init) ?? 0
        if length > configuration.bodyBytesMax {
            return finish(.bodyTooLarge(bytesMax: configuration.bodyBytesMax)).response
        }
        let values = request.headers[values: .webhookSignature]
        let signature: WebhookSignature
        do throws(SignatureRefusal) {
            signature = try verifier.parse(values)
        } catch {
            return refuse(error)
        }
        let hold = room.hold()
        defer { withExtendedLifetime(hold) {} }
        guard hold.grow(to: length) else {
            return finish(.noRoom(retryAfterSeconds: configuration.retryAfterSeconds)).response
        }
        let body: [UInt8]
        switch try await read(request.body, hold) {
        case .whole(let bytes): body = bytes
        case .tooLarge: return finish(.bodyTooLarge(bytesMax: configuration.bodyBytesMax)).response
        case .noRoom: return finish(.noRoom(retryAfterSeconds: configuration.retryAfterSeconds)).response
        }
        let now = clock.now()
        do throws(SignatureRefusal) {
            try verifier.verify(signature, body: body, now: now)
        } catch {
            return refuse(error)
        }
        let trace = TraceID.of(traceparent: request.headers[.traceparent])
        return await take(body, signature: signature, header: values[0], at: now, trace: trace)
    }

    private enum ReadBody {
        case whole([UInt8])
        case tooLarge
        case noRoom
    }

    /// Reads no further than the body may be large.
    private func read(_ body: RequestBody, _ hold: BodyRoom.Hold) async throws -> ReadBody {
        var bytes: [UInt8] = []
        do {
            for try await buffer in body {
                guard bytes.count + buffer.readableBytes <= configuration.bodyBytesMax else { return .tooLarge }
                guard hold.grow(to: bytes.count + buffer.readableBytes) else { return .noRoom }
                bytes.append(contentsOf: buffer.readableBytesView)
            }
        } catch {
            metrics.count(.bodyIncomplete)
            throw error
        }
        return .whole(bytes)
    }

    private func refuse(_ refusal: SignatureRefusal) -> Response {
        let answer = finish(.refused(refusal, toleranceSeconds: configuration.tolerance.components.seconds))
        journal.refused(answer.label, at: clock.now())
        if refusal == .mismatch { onMismatch() }
        return answer.response
    }

    /// Stores a verified delivery and says what became of it.
    private func take(
        _ body: [UInt8], signature: WebhookSignature, header: String, at now: Timestamp, trace: TraceID
    ) async -> Response {
        let interpretation = DeliveryInterpreter.interpret(body)
        let delivery = NewDelivery(
            receivedAt: now,
            signature: signature,
            header: header,
            body: body,
            interpretation: interpretation,
            trace: trace
        )
        let start = ContinuousClock.now
        do throws(BoundedLedger.Failure) {
            let receipt = try await ledger.record(delivery) { receipt in
                if case .stored = receipt, delivery.signal != nil { onStored() }
            }
            metrics.committed(after: ContinuousClock.now - start, at: now)
            let answer = finish(Self.answer(interpretation, receipt))
            journal.stored(receipt, uid: delivery.uid, as: answer.label, trace: trace)
            return answer.response
        } catch {
            journal.notStored(error)
            return finish(.notStored(error, retryAfterSeconds: configuration.retryAfterSeconds)).response
        }
    }

    /// A repeated body gets the first one's id, but one that is refused is refused every time.
    private static func answer(
        _ interpretation: DeliveryInterpreter.Interpretation,
        _ receipt: DeliveryReceipt
    ) -> WebhookAnswer {
        switch (interpretation, receipt) {
        case (.malformed(let reason), _): .malformed(reason)
        case (.accepted, .duplicate(let id)), (.ignored, .duplicate(let id)): .duplicate(of: id)
        case (.accepted, .stored(let id)): .accepted(id)
        case (.ignored(let reason, _), .stored): .ignored(reason)
        }
    }

    private func finish(_ answer: WebhookAnswer) -> WebhookAnswer {
        metrics.count(answer.label)
        return answer
    }
}

extension NewDelivery {
    init(
        receivedAt: Timestamp,
        signature: WebhookSignature,
        header: String,
        body: [UInt8],
        interpretation: DeliveryInterpreter.Interpretation,
        trace: TraceID
    ) {
        let (outcome, uid, stated): (DeliveryOutcome, ClipUID?, Signal?) =
            switch interpretation {
            case .accepted(let signal): (.accepted, signal.uid, signal)
            case .ignored(_, let uid): (.ignored, uid, nil)
            case .malformed: (.malformed, nil, nil)
            }
        var signal = stated
        signal?.trace = trace
        self.init(
            receivedAt: receivedAt,
            signedAt: Timestamp(seconds: signature.time),
            signatureHeader: header,
            body: body,
            bodySHA256: Array(SHA256.hash(data: body)),
            uid: uid,
            outcome: outcome,
            signal: signal
        )
    }
}

extension HTTPField.Name {
    static let traceparent = HTTPField.Name("traceparent")!  // A literal of token characters.
    package static let webhookSignature = HTTPField.Name("Webhook-Signature")!  // A literal of token characters.
}
