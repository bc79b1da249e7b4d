// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import Foundation
import NIOConcurrencyHelpers
import Sandbox
import Testing

/// Clips that are fetched with a token.
@Suite(.timeLimit(.minutes(2))) struct PrivateTransferTests {
    private static let bytes = 4 << 20

    /// The machine's time, shifted.
    private final class ShiftedClock: WallClock {
        private let shift = NIOLockedValueBox(Duration.zero)

        func advance(by duration: Duration) { shift.withLockedValue { $0 += duration } }
        func now() -> Timestamp { SystemWallClock().now() + shift.withLockedValue { $0 } }
        func sleep(for duration: Duration) async throws { try await SystemWallClock().sleep(for: duration) }
    }

    /// The token in the clip's place.
    private static func token(_ fetch: SentRequest) throws -> String {
        String(try #require(fetch.url.firstMatch(of: /\/media\/([^\/]+)\//)).output.1)
    }

    /// It expires while the download is broken off, or between being given and being used.
    @Test(arguments: [false, true])
    func tokenThatExpiresInTheMiddleIsReplaced(_ isInHand: Bool) async throws {
        let clock = ShiftedClock()
        let isShifted = NIOLockedValueBox(false)
        try await TransferWorld.run(
            ["route=mp4,kind=truncate,after=3MiB,count=1"], clock: clock
        ) { world, request in
            guard world.fetches.count == 1, !isInHand || SentRequest(request).isFetch else { return }
            if isShifted.withLockedValue({ isShifted in
                defer { isShifted = true }
                return !isShifted
            }) {
                clock.advance(by: .seconds(7200))
            }
        } _: { world in
            let transfer = try await world.ready(Self.bytes, ["requireSignedURLs": true])
            world.expectComplete(await world.perform(transfer))
            let fetches = world.fetches
            #expect(fetches.map(\.offset) == (isInHand ? [0, 3 << 20, 3 << 20] : [0, 3 << 20]))
            #expect(try Self.token(fetches[0]) != Self.token(fetches[fetches.count - 1]))
            // The refused request brought no byte of the clip.
            #expect(world.downloads(of: transfer).bytes == UInt64(Self.bytes))
            try await world.expectSameBytes(transfer, Self.bytes)
        }
    }

    @Test func tokenIsNeitherStoredNorReportedNorLogged() async throws {
        let logs = KeptLogs()
        let faults = [
            "route=mp4,kind=truncate,after=3MiB,count=1", "route=mp4,status=403,skip=1,count=3",
            "route=mp4,kind=reset,after=100KiB,skip=4,count=1",
        ]
        try await TransferWorld.run(faults, logger: logs.logger) { world in
            let transfer = try await world.ready(Self.bytes, ["requireSignedURLs": true])
            let failure = try #require(await world.perform(transfer).failure)
            #expect(failure.code == "download_unauthorized")
            #expect(failure.isRetryable)
            world.expectComplete(await world.performAgain(transfer))
            let tokens = Set(try world.fetches.map(Self.token))
            #expect(tokens.allSatisfy { $0.split(separator: ".").count == 3 })
            #expect(logs.lines.contains { $0.contains("transfer ended without an answer") })
            let texts =
                logs.lines + world.reporter.saved.map { "\($0)" } + world.reporter.reports.map { "\($0)" }
                + ["\(failure)"]
            for token in tokens { #expect(!texts.contains { $0.contains(token) }) }
            try await world.expectSameBytes(transfer, Self.bytes)
        }
    }
}
