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
        var lastEvent: UInt64 = 0

        mutating func nextEvent() -> UInt64 {
            lastEvent += 1
            return lastEvent
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
        let longest = state.withLockedValue { state -> (any Channel)? in
            let longest = state.connections.count >= connectionsMax ? Self.longestWaiting(state.connections) : nil
            if let longest { state.connections[ObjectIdentifier(longest)] = nil }
            state.connections[ObjectIdentifier(channel)] = Connection(
                channel: channel, waitingSince: state.nextEvent())
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
        state.withLockedValue { state in
            let event = state.nextEvent()
            state.connections[ObjectIdentifier(channel)]?.waitingSince = event
        }
    }

    func closed(_ channel: any Channel) {
        state.withLockedValue { _ = $0.connections.removeValue(forKey: ObjectIdentifier(channel)) }
    }

    private static func longestWaiting(_ connections: [ObjectIdentifier: Connection]) -> (any Channel)? {
        var longest: (channel: any Channel, since: UInt64)?
        for connection in connections.values {
            guard let since = connection.waitingSince, since < longest?.since ?? .max else { continue }
            longest = (connection.channel, since)
        }
        return longest?.channel
    }
}
