// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import Foundation
import Logging
import OutboundHTTP
import Testing

/// A transport of the test's own, which logs nothing.
func makeTransport(_ configuration: CurlTransport.Configuration = .init()) throws -> CurlTransport {
    try CurlTransport(
        configuration: configuration,
        logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    )
}

/// The error that `request` ends with; records an issue when there is none.
func failure(
    of transport: CurlTransport,
    _ request: OutboundRequest,
    sourceLocation: SourceLocation = #_sourceLocation
) async throws -> TransferError {
    let error = await #expect(throws: TransferError.self, sourceLocation: sourceLocation) {
        try await transport.send(request)
    }
    return try #require(error, sourceLocation: sourceLocation)
}

/// Waits for `condition`, at most 10 s; for what gives no signal of its own.
func eventually(
    _ comment: Comment,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () throws -> Bool
) async throws {
    let end = ContinuousClock.now + .seconds(10)
    while try !condition() {
        guard ContinuousClock.now < end else {
            Issue.record("not within 10 s: \(comment)", sourceLocation: sourceLocation)
            return
        }
        try await ContinuousClock().sleep(for: .milliseconds(2))
    }
}

/// A folder that is gone after `body`.
func withFolder<Value>(_ body: (URL) async throws -> Value) async throws -> Value {
    let folder = FileManager.default.temporaryDirectory.appending(path: "curl-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try await body(folder)
}

/// Bytes that differ from place to place, so that a wrong offset shows.
func patterned(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count { bytes += period.prefix(count - bytes.count) }
    return bytes
}

/// Its length is prime, so it falls together with no buffer's size.
private let period = (0..<65_521).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }

extension TransferLimits {
    /// Long enough for anything that a test does, short enough to end a test that hangs.
    static let test = TransferLimits(
        connect: .seconds(10),
        lowSpeed: .seconds(20),
        lowSpeedBytesPerSecond: 1,
        total: .seconds(30)
    )
}

/// The names of this process's threads.
func threadNames() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").compactMap {
        // A thread may end between the two looks.
        try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8)
    }.map { $0.trimmingCharacters(in: .newlines) }
}
