// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CPostgres
import ClipLifecycle

/// What a statement was answered with; owns libpq's memory.
final class PostgresResult {
    private let pointer: OpaquePointer
    private let columns: [String: Int32]

    init(_ pointer: OpaquePointer) {
        self.pointer = pointer
        columns = Dictionary(
            (0..<PQnfields(pointer)).map { (PQfname(pointer, $0).map { String(cString: $0) } ?? "", $0) }
        ) { first, _ in first }
    }

    deinit { PQclear(pointer) }

    var rows: [PostgresRow] { (0..<PQntuples(pointer)).map { PostgresRow(result: self, index: $0) } }
    var row: PostgresRow? { PQntuples(pointer) > 0 ? PostgresRow(result: self, index: 0) : nil }

    /// Rows that were inserted, changed, removed or read.
    var count: Int { PQcmdTuples(pointer).flatMap { Int(String(cString: $0)) } ?? 0 }
    /// Such as `COMMIT`.
    var command: String { PQcmdStatus(pointer).map { String(cString: $0) } ?? "" }

    fileprivate func bytes(_ row: Int32, _ column: String) -> UnsafeBufferPointer<UInt8>? {
        guard let number = columns[column] else { preconditionFailure("no column \"\(column)\" in \(columns.keys)") }
        guard PQgetisnull(pointer, row, number) == 0, let value = PQgetvalue(pointer, row, number) else { return nil }
        let length = Int(PQgetlength(pointer, row, number))
        return UnsafeBufferPointer(start: UnsafeRawPointer(value).assumingMemoryBound(to: UInt8.self), count: length)
    }
}

/// One row; keeps its result alive. A column that the statement does not have is a fault of ours and traps.
struct PostgresRow {
    fileprivate let result: PostgresResult
    fileprivate let index: Int32

    func text(_ column: String) -> String? { result.bytes(index, column).map { String(decoding: $0, as: UTF8.self) } }
    func integer(_ column: String) -> Int64? { text(column).flatMap(Int64.init) }
    func double(_ column: String) -> Double? { text(column).flatMap(Double.init) }
    func bool(_ column: String) -> Bool { text(column) == "t" }
    func time(_ column: String) -> Timestamp? { integer(column).map(Timestamp.init(milliseconds:)) }
    func uid(_ column: String) -> ClipUID? { text(column).flatMap { ClipUID($0) } }

    /// Of a `bytea`, which comes as `\x` and two hexadecimal digits for each byte.
    func bytes(_ column: String) -> [UInt8] {
        guard let text = result.bytes(index, column)?.dropFirst(2) else { return [] }
        return stride(from: text.startIndex, to: text.endIndex - 1, by: 2).map {
            Self.digit(text[$0]) << 4 | Self.digit(text[$0 + 1])
        }
    }

    private static func digit(_ byte: UInt8) -> UInt8 {
        byte <= UInt8(ascii: "9") ? byte - UInt8(ascii: "0") : byte - UInt8(ascii: "a") + 10
    }
}
