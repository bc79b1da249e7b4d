// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import NIOConcurrencyHelpers

/// Sends a signal to a program at the moment at which a server's count passes a mark, so that the program meets it in
/// the midst of its work, and never behind it.
final class Tripwire: Sendable {
    /// Whose count it is.
    enum Side: String, CaseIterable, Sendable { case download, upload }

    private struct State: Sendable {
        var program: RunningProgram?
        var hasSprung = false
        var isOver = false
    }

    private let side: Side
    private let mark: UInt64
    private let signal: Int32
    private let armed = Gate()
    private let state = NIOLockedValueBox(State())

    init(_ side: Side, at mark: UInt64, signal: Int32) {
        self.side = side
        self.mark = mark
        self.signal = signal
    }

    /// The program has ended by the signal.
    var isOver: Bool { state.withLockedValue(\.isOver) }

    func arm(for program: RunningProgram) {
        state.withLockedValue { $0.program = program }
        armed.open()
    }

    /// Called by a server, whose answer to the program is over with this, and not before the program is: the sockets of
    /// one that is dying still take what nobody will read.
    func passes(_ count: UInt64, _ side: Side) async throws {
        guard side == self.side, count >= mark else { return }
        let isFirst = state.withLockedValue { state in
            defer { state.hasSprung = true }
            return !state.hasSprung
        }
        guard isFirst else { return }
        await armed.wait()
        guard let program = state.withLockedValue(\.program) else { return }
        program.send(signal)
        try await until("the end of process \(program.pid)") { !program.isRunning }
        state.withLockedValue { $0.isOver = true }
        throw CancellationError()
    }
}
