// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers

/// One JSON line for each request when it is over: `begin`, `end` (RFC 3339), `method`, `path`, `query`, `status`
/// (null where the connection was cut), and `range` where one was asked for.
final class AccessLog: Sendable {
    private struct Line: Codable {
        var begin, end: Timestamp
        var method, path, query: String
        var status: Int?
        var range: String?
    }

    private let file: NIOLockedValueBox<FileHandle>

    /// Appends to the file.
    /// - Throws: what the system says when it can not be made.
    init(path: String) throws {
        if !FileManager.default.fileExists(atPath: path) { try Data().write(to: URL(filePath: path)) }
        let file = try FileHandle(forWritingTo: URL(filePath: path))
        try file.seekToEnd()
        self.file = NIOLockedValueBox(file)
    }

    func write(_ request: SandboxRequest, begin: Timestamp, end: Timestamp, status: Int?) {
        let line = Line(
            begin: begin, end: end, method: request.method.rawValue, path: request.rawPath, query: request.rawQuery,
            status: status, range: request.headers[.range])
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let bytes = try? encoder.encode(line) + Data("\n".utf8) else { return }
        // A full disk must not end the sandbox.
        file.withLockedValue { try? $0.write(contentsOf: bytes) }
    }
}
