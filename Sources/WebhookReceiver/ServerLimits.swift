// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// What bounds connections and requests, whoever opens and sends them.
package struct ServerLimits: Sendable, Equatable {
    /// For a complete request head, from its first byte, or from the connection's beginning for the first one.
    /// However slowly bytes drip in, they do not prolong it.
    package var headTimeLimit: Duration
    /// For a complete request body, from the end of its head.
    package var bodyTimeLimit: Duration
    /// Between requests. It does not run while an answer is being sent, so event streams live as long as they like.
    package var idleTimeout: Duration
    /// For the other side to take so much of an answer that more can be sent.
    package var stallTimeLimit: Duration
    /// Open connections; more are not accepted and wait in the kernel's backlog until one closes. The event loop takes
    /// many at a time from there, so the number may be passed by a sixteenth. From a sixteenth below it on, each new
    /// one takes the place of the one that has waited the longest for its sender.
    package var connectionsMax: Int
    /// Of name and value.
    package var headerFieldBytesMax: Int
    package var headerBytesMax: Int
    package var headerFieldsMax: Int

    package init(
        headTimeLimit: Duration = .seconds(10),
        bodyTimeLimit: Duration = .seconds(10),
        idleTimeout: Duration = .seconds(60),
        stallTimeLimit: Duration = .seconds(30),
        connectionsMax: Int = 4_096,
        headerFieldBytesMax: Int = 16 << 10,
        headerBytesMax: Int = 32 << 10,
        headerFieldsMax: Int = 100
    ) {
        self.headTimeLimit = headTimeLimit
        self.bodyTimeLimit = bodyTimeLimit
        self.idleTimeout = idleTimeout
        self.stallTimeLimit = stallTimeLimit
        self.connectionsMax = connectionsMax
        self.headerFieldBytesMax = headerFieldBytesMax
        self.headerBytesMax = headerBytesMax
        self.headerFieldsMax = headerFieldsMax
    }
}
