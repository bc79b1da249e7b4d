// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// What a `Range` header means for a body of a certain size.
enum ByteRange: Equatable {
    /// No range, several, or none that is understood: the whole body with 200.
    case whole
    case part(offset: UInt64, length: UInt64)
    case unsatisfiable

    init(header: String?, size: UInt64) {
        self = header.flatMap { Self.parse($0, size: size) } ?? .whole
    }

    /// Nil for what is not a single range of bytes.
    private static func parse(_ header: String, size: UInt64) -> ByteRange? {
        guard header.hasPrefix("bytes=") else { return nil }
        let sides = header.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
        guard sides.count == 2, !header.contains(",") else { return nil }
        if sides[0].isEmpty {
            guard let suffix = UInt64(sides[1]) else { return nil }
            let length = min(suffix, size)
            return length == 0 ? .unsatisfiable : .part(offset: size - length, length: length)
        }
        guard let first = UInt64(sides[0]) else { return nil }
        if sides[1].isEmpty {
            return first < size ? .part(offset: first, length: size - first) : .unsatisfiable
        }
        guard let last = UInt64(sides[1]), last >= first else { return nil }
        return first < size ? .part(offset: first, length: min(last, size - 1) - first + 1) : .unsatisfiable
    }
}
