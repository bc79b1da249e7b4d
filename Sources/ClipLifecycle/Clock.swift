// clipbridge
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// The time of day and a way to wait for it; injected everywhere, so that tests own time.
public protocol WallClock: Sendable {
    func now() -> Timestamp
    /// Throws `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws
}

/// The machine's own clock.
public struct SystemWallClock: WallClock {
    public init() {}
    public func now() -> Timestamp { Timestamp(Date()) }
    public func sleep(for duration: Duration) async throws { try await Task.sleep(for: duration) }
}
