// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers
import NIOCore

/// Keeps room for new connections: when they get many, the one goes that has waited the longest for its sender.
///
/// Without it, whoever opens as many connections as there may be and says nothing keeps everybody else out for as long
/// as the time limits let him, and comes back then. An honest sender's request is complete within moments, so it is
/// never the oldest of thousands.
final class ConnectionRoom: Sendable {
    private struct Connection {
        let channel: any Channel
        /// Since when it waits for its sender, in the order of such events; nil while a request of it is being
        /// answered.
        var waitingSince: UInt64?
    }

    private struct State {
        var connections: [ObjectIdentifier: Connection] = [:]
        /// Who waits since when, the longest first, also those for whom that is over.
        var waits: CircularBuffer<(id: ObjectIdentifier, since: UInt64)> = []
        var lastEvent: UInt64 = 0

        mutating func wait(_ id: ObjectIdentifier) {
            guard connections[id] != nil else { return }
            lastEvent += 1
            connections[id]?.waitingSince = lastEvent
            waits.append((id, lastEvent))
            // So that there are never many more than connections, and dropping one costs no more than adding it.
            if waits.count > 2 * connections.count + 64 {
                waits.removeAll { [connections] in connections[$0.id]?.waitingSince != $0.since }
            }
        }

        mutating func removeLongestWaiting() -> (any Channel)? {
            while let longest = waits.popFirst() {
                guard let connection = connections[longest.id], connection.waitingSince == longest.since else {
                    continue
                }
                connections[longest.id] = nil
                return connection.channel
            }
            return nil
        }
    }

    /// More than so many are too many.
    private let connectionsMax: Int
    private let state = NIOLockedValueBox(State())

    init(connectionsMax: Int) {
        self.connectionsMax = connectionsMax
    }

    /// May close another connection.
    func opened(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        let longest = state.withLockedValue { state in
            let longest = state.connections.count >= connectionsMax ? state.removeLongestWaiting() : nil
            state.connections[id] = Connection(channel: channel)
            state.wait(id)
            return longest
        }
        longest?.close(promise: nil)
    }

    /// Its request is complete.
    func answers(_ channel: any Channel) {
        state.withLockedValue { $0.connections[ObjectIdentifier(channel)]?.waitingSince = nil }
    }

    /// All that it asked is answered.
    func waits(_ channel: any Channel) {
        state.withLockedValue { $0.wait(ObjectIdentifier(channel)) }
    }

    func closed(_ channel: any Channel) {
        state.withLockedValue { _ = $0.connections.removeValue(forKey: ObjectIdentifier(channel)) }
    }
}
