// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Bytes moved so far by a running exchange; written by the transport's thread and read by anyone.
///
/// Both counts only grow; over several exchanges with the same meter they add up. `bytesReceived` counts what is where
/// the request wanted it: with a `FileSink` a byte is counted after it was written, so that another task may at once
/// read the file up to the offset of its `Placement` plus the count, and a body that `place` kept out of the file is
/// not counted. `bytesSent` counts what was handed over to be sent, each byte once even if it is sent again.
public final class TransferMeter: Sendable {
    private let received = Atomic<UInt64>(0)
    private let sent = Atomic<UInt64>(0)

    public init() {}

    public var bytesReceived: UInt64 { received.load(ordering: .acquiring) }
    public var bytesSent: UInt64 { sent.load(ordering: .relaxed) }

    /// What is counted has been written before.
    public func addReceived(_ count: Int) { received.wrappingAdd(UInt64(count), ordering: .releasing) }
    public func addSent(_ count: Int) { sent.wrappingAdd(UInt64(count), ordering: .relaxed) }
}
