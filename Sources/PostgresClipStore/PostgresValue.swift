// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// A statement's parameter.
enum PostgresValue {
    case null
    /// In the server's text format, whatever the type.
    case text(String)
    /// `bytea`, as it is.
    case bytes([UInt8])

    init(_ value: String?) { self = value.map(PostgresValue.text) ?? .null }
    init(_ value: (some BinaryInteger)?) { self = value.map { .text(String($0)) } ?? .null }
    /// Swift's own text, from which the server reads the same number again.
    init(_ value: Double?) { self = value.map { .text("\($0)") } ?? .null }
    init(_ value: Timestamp?) { self.init(value?.milliseconds) }

    /// An array of uids or words of ours, which hold neither quotes nor backslashes. Quoted, for `null` is a uid too.
    init(_ words: [String]) { self = .text("{\(words.map { "\"\($0)\"" }.joined(separator: ","))}") }
    init(_ uids: [ClipUID]) { self.init(uids.map(\.rawValue)) }
    init(_ numbers: some Sequence<Int64>) { self.init(numbers.map(String.init)) }
}

/// The parameters of one statement as libpq takes them, all in one block of memory.
struct PostgresParameters: ~Copyable {
    private let memory: UnsafeMutableRawBufferPointer
    private(set) var values: [UnsafePointer<CChar>?] = []
    private(set) var lengths: [Int32] = []
    private(set) var formats: [Int32] = []

    init(_ parameters: [PostgresValue]) {
        memory = .allocate(byteCount: max(parameters.reduce(0) { $0 + Self.size(of: $1) }, 1), alignment: 1)
        var offset = 0
        for parameter in parameters {
            switch parameter {
            case .null:
                add(nil, length: 0, format: 0)
            case .text(let text):
                let start = offset
                // The server's text knows no zero byte, and takes one for the end.
                for byte in text.utf8 where byte != 0 { put(byte, &offset) }
                put(0, &offset)
                add(start, length: offset - start - 1, format: 0)
            case .bytes(let bytes):
                let place = UnsafeMutableRawBufferPointer(rebasing: memory[offset..<(offset + bytes.count)])
                place.copyBytes(from: bytes)
                add(offset, length: bytes.count, format: 1)
                offset += bytes.count
            }
        }
    }

    deinit { memory.deallocate() }

    private static func size(of parameter: PostgresValue) -> Int {
        switch parameter {
        case .null: 0
        case .text(let text): text.utf8.count + 1
        case .bytes(let bytes): bytes.count
        }
    }

    private func put(_ byte: UInt8, _ offset: inout Int) {
        memory[offset] = byte
        offset += 1
    }

    private mutating func add(_ start: Int?, length: Int, format: Int32) {
        let place = start.flatMap { start in memory.baseAddress.map { $0 + start } }
        values.append(place.map { UnsafePointer($0.assumingMemoryBound(to: CChar.self)) })
        lengths.append(Int32(length))
        formats.append(format)
    }
}
