// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOConcurrencyHelpers
import OutboundHTTP

/// How far a running download has filled its spool file; written by the download, read by what follows it.
final class SpoolLevel: Sendable {
    private struct State: Sendable {
        var base: UInt64
        var meter = TransferMeter()
        var total: UInt64?
        var etag: String?
        var isPlaced = false
        var isFinished = false
    }

    /// How often a waiting part looks: short beside what a part takes.
    private static let interval = Duration.milliseconds(10)

    private let state: NIOLockedValueBox<State>
    private let clock: any WallClock

    /// - Parameter offset: what the file holds already.
    init(offset: UInt64, clock: any WallClock) {
        self.state = NIOLockedValueBox(State(base: offset))
        self.clock = clock
    }

    /// Bytes of the file from its beginning that can be read.
    var available: UInt64 { state.withLockedValue { $0.base + $0.meter.bytesReceived } }
    var total: UInt64? { state.withLockedValue(\.total) }
    var etag: String? { state.withLockedValue(\.etag) }
    var isPlaced: Bool { state.withLockedValue(\.isPlaced) }

    /// A request for the bytes behind those that are available; its meter counts from there.
    func begin() -> (offset: UInt64, meter: TransferMeter) {
        state.withLockedValue { state in
            state.base += state.meter.bytesReceived
            state.meter = TransferMeter()
            return (state.base, state.meter)
        }
    }

    /// The head of an answer whose body goes into the file.
    func place(total: UInt64?, etag: String?) {
        state.withLockedValue { state in
            state.isPlaced = true
            state.total = total ?? state.total
            state.etag = etag ?? state.etag
        }
    }

    /// Everything is there.
    func finish(size: UInt64) {
        state.withLockedValue { state in
            state.total = size
            state.isPlaced = true
            state.isFinished = true
        }
    }

    /// Waits until the length is known: from the head, or where that does not say, from the end of the download.
    func knownTotal() async throws -> UInt64 {
        while true {
            if let total { return total }
            try await clock.sleep(for: Self.interval)
        }
    }

    /// Waits until the file holds everything before `end`.
    func reach(_ end: UInt64) async throws {
        while available < end { try await clock.sleep(for: Self.interval) }
    }

    /// Waits for the end of the download.
    func finished() async throws {
        while !state.withLockedValue(\.isFinished) { try await clock.sleep(for: Self.interval) }
    }
}
