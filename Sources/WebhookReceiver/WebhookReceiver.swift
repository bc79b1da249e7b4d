// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import Crypto
import HTTPTypes
package import Hummingbird
package import Logging
package import Metrics
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1

/// Takes Cloudflare's webhook deliveries: read while counting, verify over the raw bytes, then interpret, then store,
/// then answer. Nothing is decoded and the store is not touched before the signature is verified.
///
/// It is spoken to by a connection's `WebhookHandler`: `begin`, `add` for each piece of the body, `complete`.
package final class WebhookReceiver: Sendable {
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
    private let lastDate = NIOLockedValueBox<(seconds: Int64, text: String)>((.min, ""))
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

    /// What is no POST is answered here; deliveries do not come this way (`WebhookHandler`).
    package func addRoutes<Context: RequestContext>(to router: some RouterMethods<Context>) {
        let path = RouterPath(Self.path)
        for method: HTTPRequest.Method in [.get, .head, .put, .delete, .connect, .options, .trace, .patch] {
            router.on(path, method: method) { [self] _, _ in
                let response = finish(.methodNotAllowed).response
                return method == .head ? response.createHeadResponse() : response
            }
        }
    }

    /// A delivery whose head promises a signature, and what has come of its body.
    struct Arrival: Sendable {
        fileprivate let signature: WebhookSignature
        fileprivate let header: String
        fileprivate let trace: TraceID
        fileprivate let hold: BodyRoom.Hold
        fileprivate var body: [UInt8] = []
    }

    /// An answer before the delivery is complete.
    struct Refusal: Error {
        let answer: WebhookAnswer
    }

    /// What can be told from the head alone.
    func begin(_ headers: HTTPHeaders) throws(Refusal) -> Arrival {
        let length = headers.first(name: "Content-Length").flatMap { Int($0) } ?? 0
        if length > configuration.bodyBytesMax { throw tooLarge }
        let values = headers[HTTPField.Name.webhookSignature.rawName]
        let signature: WebhookSignature
        do throws(SignatureRefusal) {
            signature = try verifier.parse(values)
        } catch {
            throw Refusal(answer: refuse(error))
        }
        let hold = room.hold()
        guard hold.grow(to: length) else { throw noRoom }
        return Arrival(
            signature: signature,
            header: values[0],
            trace: TraceID.of(traceparent: headers.first(name: "traceparent")),
            hold: hold
        )
    }

    /// Takes no more than a body may be large.
    func add(_ bytes: ByteBuffer, to arrival: inout Arrival) throws(Refusal) {
        let size = arrival.body.count + bytes.readableBytes
        guard size <= configuration.bodyBytesMax else { throw tooLarge }
        guard arrival.hold.grow(to: size) else { throw noRoom }
        arrival.body.append(contentsOf: bytes.readableBytesView)
    }

    /// Verifies a delivery that is complete, stores it, and says what became of it.
    /// - Parameter onAnswer: runs once, on any thread, also before this returns.
    func complete(_ arrival: Arrival, onAnswer: @escaping @Sendable (WebhookAnswer) -> Void) {
        let now = clock.now()
        do throws(SignatureRefusal) {
            try verifier.verify(arrival.signature, body: arrival.body, now: now)
        } catch {
            return onAnswer(refuse(error))
        }
        let interpretation = DeliveryInterpreter.interpret(arrival.body)
        let delivery = NewDelivery(arrival, at: now, interpretation: interpretation)
        // No more than is needed later: each delivery's closures are made and let go of with all that they hold.
        let (verdict, isSignal) = (interpretation.verdict, delivery.signal != nil)
        let (uid, trace, start) = (delivery.uid, arrival.trace, ContinuousClock.now)
        ledger.record(delivery) { [self] receipt in
            if case .stored = receipt, isSignal { onStored() }
        } onAnswer: { [self] result in
            switch result {
            case .success(let receipt):
                metrics.committed(after: ContinuousClock.now - start, at: now)
                let answer = finish(Self.answer(verdict, receipt))
                journal.stored(receipt, uid: uid, as: answer.label, trace: trace)
                onAnswer(answer)
            case .failure(let failure):
                journal.notStored(failure)
                onAnswer(finish(.notStored(failure, retryAfterSeconds: configuration.retryAfterSeconds)))
            }
        }
    }

    /// Its sender is gone before the delivery was complete.
    func abandoned() { metrics.count(.bodyIncomplete) }

    /// For the answers' header `Date`, which is written once a second.
    func date() -> String {
        let now = clock.now()
        return lastDate.withLockedValue { last in
            if last.seconds != now.seconds { last = (now.seconds, HTTPDate.text(now)) }
            return last.text
        }
    }

    private var tooLarge: Refusal { Refusal(answer: finish(.bodyTooLarge(bytesMax: configuration.bodyBytesMax))) }
    private var noRoom: Refusal {
        Refusal(answer: finish(.noRoom(retryAfterSeconds: configuration.retryAfterSeconds)))
    }

    private func refuse(_ refusal: SignatureRefusal) -> WebhookAnswer {
        let answer = finish(.refused(refusal, toleranceSeconds: configuration.tolerance.components.seconds))
        journal.refused(answer.label, at: clock.now())
        if refusal == .mismatch { onMismatch() }
        return answer
    }

    /// The whole way of a delivery that is here already.
    package func receive(headers: HTTPFields, body: [UInt8]) async -> HTTPResponse.Status {
        do throws(Refusal) {
            var arrival = try begin(HTTPHeaders(headers))
            try add(ByteBuffer(bytes: body), to: &arrival)
            return await withCheckedContinuation { [arrival] continuation in
                complete(arrival) { continuation.resume(returning: $0.status) }
            }
        } catch {
            return error.answer.status
        }
    }

    /// A repeated body gets the first one's id, but one that is refused is refused every time.
    private static func answer(
        _ verdict: DeliveryInterpreter.Verdict,
        _ receipt: DeliveryReceipt
    ) -> WebhookAnswer {
        switch (verdict, receipt) {
        case (.malformed(let reason), _): .malformed(reason)
        case (.accepted, .duplicate(let id)), (.ignored, .duplicate(let id)): .duplicate(of: id)
        case (.accepted, .stored(let id)): .accepted(id)
        case (.ignored(let reason), .stored): .ignored(reason)
        }
    }

    private func finish(_ answer: WebhookAnswer) -> WebhookAnswer {
        metrics.count(answer.label)
        return answer
    }
}

extension NewDelivery {
    fileprivate init(
        _ arrival: WebhookReceiver.Arrival,
        at now: Timestamp,
        interpretation: DeliveryInterpreter.Interpretation
    ) {
        let (outcome, uid, stated): (DeliveryOutcome, ClipUID?, Signal?) =
            switch interpretation {
            case .accepted(let signal): (.accepted, signal.uid, signal)
            case .ignored(_, let uid): (.ignored, uid, nil)
            case .malformed: (.malformed, nil, nil)
            }
        var signal = stated
        signal?.trace = arrival.trace
        self.init(
            receivedAt: now,
            signedAt: Timestamp(seconds: arrival.signature.time),
            signatureHeader: arrival.header,
            body: arrival.body,
            bodySHA256: Array(SHA256.hash(data: arrival.body)),
            uid: uid,
            outcome: outcome,
            signal: signal
        )
    }
}

extension HTTPField.Name {
    package static let webhookSignature = HTTPField.Name("Webhook-Signature")!  // A literal of token characters.
}
