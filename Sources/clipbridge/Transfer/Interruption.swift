// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import UnixSignals

/// Ctrl-C or SIGTERM came before the end.
struct Interruption: Error {
    var signal: UnixSignal

    /// What a shell makes of a program that the signal itself ended.
    var exitCode: ExitCode { ExitCode(128 + signal.rawValue) }
}

/// Runs `body` to its end, or cancels it at the first of these signals and throws `Interruption` once it is over.
func untilInterrupted<Value: Sendable>(
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
    return try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await body() }
        group.addTask {
            for await signal in signals { throw Interruption(signal: signal) }
            throw CancellationError()
        }
        defer { group.cancelAll() }
        guard let value = try await group.next() else { throw CancellationError() }
        return value
    }
}
