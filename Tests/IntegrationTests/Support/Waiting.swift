// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// What was waited for did not come.
struct TimeIsUp: Error, CustomStringConvertible {
    var description: String
}

/// Asks again and again until there is an answer; how every test here waits for another process.
func until<Value>(
    _ what: String,
    within limit: Duration = .seconds(60),
    every interval: Duration = .milliseconds(25),
    _ ask: () async throws -> Value?
) async throws -> Value {
    let end = ContinuousClock.now + limit
    while true {
        if let answer = try await ask() { return answer }
        guard ContinuousClock.now < end else { throw TimeIsUp(description: "\(what) did not come within \(limit)") }
        try await SystemWallClock().sleep(for: interval)
    }
}

func until(_ what: String, within limit: Duration = .seconds(60), holds: () async throws -> Bool) async throws {
    try await until(what, within: limit) { try await holds() ? () : nil }
}

/// For what is measured over a time, and is not waited for.
func letPass(_ duration: Duration) async throws { try await SystemWallClock().sleep(for: duration) }
