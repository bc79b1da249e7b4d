// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import Logging
import Pipeline
import ServiceLifecycle

/// Aborts what dead processes left open in the bucket, at start and a few times a day.
struct UploadSweep<Store: ClipStore>: Service {
    private static var interval: Duration { .seconds(6 * 3_600) }

    let store: Store
    let pipeline: Pipeline
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await sweep()
                try? await Task.sleep(for: Self.interval)
            }
        }
    }

    private func sweep() async {
        do {
            let aborted = try await pipeline.abortStaleUploads(now: SystemWallClock().now()) { uid in
                try await store.read { transaction in
                    guard try transaction.clip(uid) != nil else { return .stranger }
                    return .clip(uploadID: try transaction.transfer(of: uid)?.uploadID)
                }
            }
            if aborted > 0 { logger.info("stale uploads aborted", metadata: ["uploads": "\(aborted)"]) }
        } catch {
            // The next turn comes; clips tell by themselves what is wrong with the bucket.
            logger.debug("stale uploads were not looked for", metadata: ["error": "\(error)"])
        }
    }
}
