// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers

/// Bounds what all bodies together hold in memory before anybody knows whether they are signed.
///
/// A delivery of Cloudflare's is a few KiB, and so much is free for each. Only what is beyond counts, so that those who
/// hold back the ends of thousands of large bodies are in each other's way and in nobody else's.
final class BodyRoom: Sendable {
    static let freeBytes = 16 << 10

    private let bytesMax: Int
    private let bytes = NIOLockedValueBox(0)

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    func hold() -> Hold { Hold(room: self) }

    private func take(_ count: Int) -> Bool {
        bytes.withLockedValue { bytes in
            guard bytes + count <= bytesMax else { return false }
            bytes += count
            return true
        }
    }

    private func giveBack(_ count: Int) { bytes.withLockedValue { $0 -= count } }

    /// One body's part. Whoever lets go of it gives it back.
    final class Hold: Sendable {
        private let room: BodyRoom
        private let taken = NIOLockedValueBox(0)

        fileprivate init(room: BodyRoom) {
            self.room = room
        }

        deinit { room.giveBack(taken.withLockedValue { $0 }) }

        /// Makes it enough for a body of that size.
        /// - Returns: false when there is no room.
        func grow(to size: Int) -> Bool {
            taken.withLockedValue { taken in
                let more = size - BodyRoom.freeBytes - taken
                guard more > 0 else { return true }
                guard room.take(more) else { return false }
                taken += more
                return true
            }
        }
    }
}
