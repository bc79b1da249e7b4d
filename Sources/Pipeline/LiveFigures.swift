// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOConcurrencyHelpers

/// Bytes, rate and time left of a running download or put, as details.
struct LiveFigures {
    /// How often they are taken and stored: often enough to be watched, seldom enough to cost nothing.
    static let interval = Duration.milliseconds(500)

    private var lastBytes: UInt64
    private var lastAt: Timestamp
    private var bytesPerSecond: Double?

    init(bytes: UInt64, at now: Timestamp) {
        lastBytes = bytes
        lastAt = now
    }

    /// - Returns: nil when nothing moved since the last reading.
    mutating func reading(bytes: UInt64, total: UInt64?, at now: Timestamp) -> Observation? {
        let seconds = (now - lastAt).inSeconds
        guard bytes != lastBytes, seconds > 0 else { return nil }
        let rate = (Double(bytes) - Double(lastBytes)) / seconds
        // Smoothed over a few readings, so that the time left does not jump.
        let smooth = max(0, bytesPerSecond.map { $0 * 0.7 + rate * 0.3 } ?? rate)
        (lastBytes, lastAt, bytesPerSecond) = (bytes, now, smooth)
        var details: Details = [:]
        details[.transferBytes] = .integer(Int64(clamping: bytes))
        details[.transferBytesPerSecond] = .integer(Int64(smooth))
        guard let total, total > 0 else { return Observation(status: nil, details: details) }
        details[.transferTotalBytes] = .integer(Int64(clamping: total))
        if smooth >= 1 { details[.transferSecondsLeft] = .integer(Int64(Double(total - min(bytes, total)) / smooth)) }
        return Observation(status: nil, percent: Double(bytes) / Double(total) * 100, details: details)
    }
}

/// Runs `body` and reports figures beside it; a lost lease ends both.
func withLiveFigures<Value: Sendable>(
    clock: any WallClock, journal: any TransferJournal, metrics: TransferMetrics,
    bytes: @escaping @Sendable () -> TransferBytes,
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let begin = bytes()
    let counted = NIOLockedValueBox(begin)
    @Sendable func count() -> TransferBytes {
        let now = bytes()
        let last = counted.withLockedValue { counted in
            defer { counted = now }
            return counted
        }
        metrics.moved(received: now.received - last.received, sent: now.sent - last.sent)
        return now
    }
    // Once nothing runs any more: a download that is cancelled still writes what it holds.
    defer { _ = count() }
    return try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            var figures = LiveFigures(bytes: begin.done, at: clock.now())
            while !Task.isCancelled {
                do { try await clock.sleep(for: LiveFigures.interval) } catch { return nil }
                let now = count()
                guard let reading = figures.reading(bytes: now.done, total: now.total, at: clock.now()) else {
                    continue
                }
                do {
                    try await journal.report(reading)
                } catch let stop as TransferStop {
                    throw stop
                } catch {
                    // A store that is busy for a moment must not cost the bytes that are on their way.
                    continue
                }
            }
            return nil
        }
        defer { group.cancelAll() }
        while let result = try await group.next() {
            if let value = result { return value }
        }
        throw CancellationError()
    }
}
