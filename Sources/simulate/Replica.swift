// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import CloudflareStream
import Foundation
import HTTPTypes
import Logging
import Monitor
import NIOConcurrencyHelpers
import ObjectStorage
import Pipeline
import WebhookReceiver

/// One process of the bridge: its real receiver, monitor and pipeline, over what the world gives them.
final class Replica<Base: ClipStore>: Sendable {
    let life: Life
    let store: SimulatedStore<Base>
    let monitor: Monitor<SimulatedStore<Base>>
    private let spool: Spool
    private let world: WorldState
    private let receiver: WebhookReceiver
    private let task = NIOLockedValueBox<Task<Void, Never>?>(nil)

    static var secret: String { "85011ed3a913c6ad5f9cf6c5573cc0a7" }

    init(life: Life, base: Base, world: WorldState, upstream: Upstream, budget: BudgetLevel, folder: String) throws {
        self.life = life
        self.world = world
        let clock = ReplicaClock(life: life, clock: world.clock)
        let logger = Say.logger(life.owner)
        let store = SimulatedStore(base: base, life: life, world: world)
        self.store = store
        spool = Spool(folder: "\(folder)/spool-\(life.host)", bytesMax: 1 << 30)
        try spool.prepare()
        let transport = SimulatedTransport(life: life, world: world, upstream: upstream)
        let stream = StreamClient(
            transport: transport, baseURL: Upstream.streamBase, accountID: Upstream.account, token: "token",
            budget: SimulatedBudget(
                real: SharedRateBudget(keeper: budget, limits: world.scenario.budget, clock: clock),
                variant: world.scenario.variant),
            clock: clock, logger: logger)
        let storage = S3Client(
            configuration: S3Configuration(
                endpoint: Upstream.bucketEndpoint, bucket: Upstream.bucketName,
                credentials: StorageCredentials(accessKeyID: "key", secretAccessKey: "secret")),
            transport: transport, clock: clock)
        let pipeline = Pipeline(
            stream: stream, storage: storage, transport: transport, spool: spool,
            settings: TransferSettings(
                downloadHosts: try DownloadHosts([Upstream.mediaHost]), partBytes: PartPlan.partBytesMin), clock: clock,
            logger: logger)
        let jitter = Dice(seed: world.scenario.seed, purpose: UInt64(100 + life.owner.utf8.reduce(0) { $0 + Int($1) }))
        let monitor = Monitor(
            store: store, performer: pipeline,
            configuration: MonitorConfiguration(policy: world.scenario.policy, owner: life.owner),
            clock: clock, logger: logger, jitter: { jitter.share() })
        self.monitor = monitor
        receiver = WebhookReceiver(
            configuration: .init(secrets: WebhookSecrets([Self.secret])), ledger: store, clock: clock, logger: logger,
            onStored: { monitor.wake() })
    }

    /// Starts as the program does: clears up after whoever was here before, then serves.
    func start() {
        let running = Task {
            while !Task.isCancelled {
                do {
                    try await self.clearUp()
                    return try await self.monitor.run()
                } catch {
                    // As its supervisor would start it again.
                    try? await world.clock.sleep(for: .seconds(1))
                    if life.isDead { return }
                }
            }
        }
        task.withLockedValue { $0 = running }
    }

    private func clearUp() async throws {
        let (store, owner) = (store, life.owner)
        let script = LedgerScript(policy: world.scenario.policy, now: life.now)
        _ = try await spool.sweep {
            try await store.write { transaction in
                if !store.isShared { try script.voidLeases(exceptOf: owner, in: transaction) }
                return Set(try transaction.transfers().keys)
            }
        }
    }

    func kill() {
        life.kill()
        task.withLockedValue { $0 }?.cancel()
    }

    /// - Returns: the answer's status; nil where nobody lives to answer.
    func deliver(_ body: [UInt8], signedAt time: Timestamp, trace: Int) async -> Int? {
        var headers: HTTPFields = [
            .webhookSignature: WebhookVerifier.sign(secret: Self.secret, time: time, body: body)
        ]
        let digits = String(trace)
        headers[.traceparent] = "00-\(String(repeating: "0", count: 32 - digits.count))\(digits)-00000000000000ff-01"
        let status = await receiver.receive(headers: headers, body: body)
        return life.isDead ? nil : status.code
    }
}

extension HTTPField.Name {
    fileprivate static let traceparent = HTTPField.Name("traceparent")!  // A literal of token characters.
}
