// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import ObjectStorage

/// What has to be true once faults have stopped and everything has come to rest.
struct FinalCheck<Base: ClipStore> {
    let world: World<Base>

    private var watch: Watch { world.watch }

    func run() async {
        do {
            let base = world.base
            let (rows, undecided, deliveries) = try await Scheduler.shared.exclusively {
                try await base.read {
                    (
                        try $0.clips(status: nil, before: nil, limit: 100), try $0.oldestUndecided(),
                        try $0.deliveries(uid: nil, before: nil, limit: 10_000)
                    )
                }
            }
            if let undecided { watch.found("a signal of \(undecided.rfc3339) is still undecided") }
            checkDeliveries(deliveries)
            rows.forEach(check)
            let verified = try await verification()
            if let difference = verified.differences.first {
                watch.found("the ledger does not refold to the table: \(difference.uid): \(difference.text)")
            }
        } catch {
            watch.found("the store can not be read: \(error)")
        }
    }

    private func verification() async throws -> LedgerVerification {
        let base = world.base
        return try await Scheduler.shared.exclusively { try await LedgerVerification.run(on: base) }
    }

    private func checkDeliveries(_ deliveries: [DeliveryRecord]) {
        let stored = Set(deliveries.map(\.body))
        if stored.count != deliveries.count { watch.found("a delivery is stored twice") }
        if !watch.acknowledged.isSubset(of: stored) { watch.found("an acknowledged delivery is not stored") }
    }

    private func check(_ row: ClipRecord) {
        guard let status = row.status, let plan = world.clips.first(where: { $0.uid == row.uid }) else { return }
        guard status.isTerminal else {
            return watch.found("clip \(row.uid) is stuck in \"\(status.rawValue)\": \(String(describing: row.work))")
        }
        if status == .error, !plan.isMeantToFail {
            return watch.found("clip \(row.uid) came to nothing: \(row.details[.errorMessage]?.stringValue ?? "")")
        }
        if status == .complete, watch.lastCompletion(of: row.uid) == .pipeline { checkObject(of: row) }
        checkCosts(plan)
    }

    private func checkObject(of row: ClipRecord) {
        guard let object = world.upstream.bucket.object("videos/\(row.uid).mp4") else {
            return watch.found("clip \(row.uid) is complete, and R2 has no object")
        }
        if !world.upstream.media.hasMade(FileDigest(of: object.bytes).sha256, of: row.uid) {
            watch.found("the object of clip \(row.uid) is not what its host had")
        }
        if row.details[.r2ETag]?.stringValue != object.etag {
            watch.found("clip \(row.uid) names another tag than its object has")
        }
    }

    private func checkCosts(_ plan: PlannedClip) {
        let requests = world.upstream.stream.mp4Requests(of: plan.uid)
        let outside = watch.outsideMoves(of: plan.uid)
        let failures = plan.mp4 == nil ? 0 : 4
        // Each may have cost an answer, or its note; and an operator may have the MP4 asked for again.
        let faults = watch.strikes(
            .serverError, .limited, .reset, .lostAnswer, .truncation, .storeError, .lostCommitAnswer, .crash, .pause,
            .clockJump, .operator)
        // Whoever is sent from outside to fetch an MP4 before it is there asks for it with each try.
        if outside == 0, requests > 1 + faults + failures {
            watch.found(
                "the MP4 of clip \(plan.uid) was asked for \(requests) times, which \(faults) faults do not explain")
        }
        let served = world.upstream.media.served(of: plan.uid)
        let breaks = faults + watch.strikes(.sourceChange, .vanishingPut, .corruption, .powerLoss, .slowBody) + outside
        if breaks == 0, served > plan.bytes {
            watch.found("\(served) bytes of clip \(plan.uid) were fetched, it has \(plan.bytes)")
        }
    }
}
