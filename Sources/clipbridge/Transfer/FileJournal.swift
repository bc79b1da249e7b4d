// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import NIOConcurrencyHelpers
import Pipeline

/// Keeps a transfer's record in a file beside its spool, for one process at a time.
///
/// The file only grows, line by line: it costs the same for the last part as for the first, and a process that dies
/// leaves nothing but at most a broken line.
final class FileJournal: TransferJournal {
    /// One of the two.
    private struct Line: Codable {
        var record: TransferRecord?
        var part: TransferPart?
    }

    let display: TransferDisplay
    private let path: String
    /// Locked; the system drops the lock with the process, however it ends. So nothing else here may open and close
    /// the file, which drops it too.
    private let file: FileHandle
    private let record: NIOLockedValueBox<TransferRecord?>

    /// - Throws: `CommandFailure` while another process has the journal.
    init(path: String, display: TransferDisplay) throws {
        self.path = path
        self.display = display
        file = try Self.open(path)
        record = NIOLockedValueBox(Self.fold(try file.readToEnd() ?? Data()))
    }

    private static func open(_ path: String) throws -> FileHandle {
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600])
        }
        guard let file = FileHandle(forUpdatingAtPath: path) else {
            throw CommandFailure(.configuration, "\"\(path)\" can not be written: check CLIPBRIDGE_SPOOL_DIR")
        }
        guard lockf(file.fileDescriptor, F_TLOCK, 0) == 0 else {
            throw CommandFailure(.unavailable, "another process is moving the same URL to the same key")
        }
        return file
    }

    private static func fold(_ lines: Data) -> TransferRecord? {
        var record: TransferRecord?
        for text in lines.split(separator: UInt8(ascii: "\n")) {
            guard let line = try? JSONDecoder().decode(Line.self, from: text) else { continue }
            record = line.record ?? record
            if let part = line.part { record?.keep(part) }
        }
        return record
    }

    /// What an earlier process has left is gone on from.
    var goesOn: Bool { record.withLockedValue { $0 != nil } }

    /// Another process may have the journal.
    func close() {
        display.clear()
        if !goesOn { try? FileManager.default.removeItem(atPath: path) }
        try? file.close()
    }

    // MARK: TransferJournal

    func load() async throws -> TransferRecord? { record.withLockedValue { $0 } }

    func save(_ new: TransferRecord) async throws {
        try record.withLockedValue { record in
            record = new
            try append(Line(record: new))
        }
    }

    func save(_ part: TransferPart) async throws {
        try record.withLockedValue { record in
            record?.keep(part)
            try append(Line(part: part))
        }
    }

    func forget() async throws {
        record.withLockedValue { $0 = nil }
        try FileManager.default.removeItem(atPath: path)
    }

    func report(_ observation: Observation) async throws { display.show(observation) }

    /// The line's end comes first, so that a broken line before it stays alone.
    private func append(_ line: Line) throws {
        try file.seekToEnd()
        try file.write(contentsOf: Data([UInt8(ascii: "\n")]) + JSONEncoder().encode(line))
    }
}

extension TransferRecord {
    fileprivate mutating func keep(_ part: TransferPart) {
        parts.removeAll { $0.number == part.number }
        parts.append(part)
    }
}
