// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// JSON as text (RFC 8259). Every webhook and every column of details comes through here, and Foundation's
/// decoder takes eleven times as long for such values.
extension JSONValue {
    /// Reads a whole text in UTF-8; nil for anything else.
    ///
    /// Of several members of one name the last counts. A number that is too large for a double is null, and half a
    /// surrogate pair is U+FFFD: one odd member must not cost us the rest of the text.
    /// - Parameter names: of the members of an outermost object that are kept, nil for all. The others are only looked
    ///   at as far as that the text is JSON.
    public init?(json: [UInt8], keeping names: JSONNames? = nil) {
        guard (try? UTF8Span(validating: json.span)) != nil else { return nil }
        var reader = JSONReader(bytes: json)
        guard let value = try? reader.whole(keeping: names) else { return nil }
        self = value
    }

    /// Without spaces, and with members in the order of their names, so that the same value is the same text. A number
    /// that JSON has not is null.
    public var json: String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(256)
        write(into: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    private func write(into bytes: inout [UInt8]) {
        switch self {
        case .null: bytes += "null".utf8
        case .bool(let value): bytes += (value ? "true" : "false").utf8
        case .integer(let value): bytes += String(value).utf8
        case .double(let value):
            // 2.0 is 2.
            if case .integer(let whole) = JSONValue(number: value) {
                bytes += String(whole).utf8
            } else {
                bytes += (value.isFinite ? "\(value)" : "null").utf8
            }
        case .string(let text): Self.write(text, into: &bytes)
        case .array(let elements):
            bytes.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                element.write(into: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (index, name) in members.keys.sorted().enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                Self.write(name, into: &bytes)
                bytes.append(UInt8(ascii: ":"))
                members[name]?.write(into: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    /// A text with its quotation marks.
    package static func write(_ text: String, into bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        defer { bytes.append(UInt8(ascii: "\"")) }
        let utf8 = text.utf8
        // Nearly every text, and then it is copied as a whole.
        if utf8.span.firstSpecial() == nil { return bytes.append(contentsOf: utf8) }
        for byte in utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                bytes += (byte < 0x10 ? "\\u000" : "\\u00").utf8
                bytes += String(byte, radix: 16).utf8
            default:
                bytes.append(byte)
            }
        }
    }
}

extension Span<UInt8> {
    /// Where the first byte is that does not stand for itself in a JSON string: a quotation mark, a backslash or a
    /// control character.
    fileprivate func firstSpecial(from start: Int = 0) -> Int? {
        var index = start
        // Eight at a time, because strings are most of what there is.
        while index + 8 <= count {
            // The bytes are looked for and any eight are a number.
            let word = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
            let special = Self.specials(of: UInt64(littleEndian: word))
            if special != 0 { return index + special.trailingZeroBitCount / 8 }
            index += 8
        }
        while index < count {
            let byte = self[index]
            if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return index }
            index += 1
        }
        return nil
    }

    /// Sets the highest bit of the first byte that is special, and of none before it
    /// (https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord).
    private static func specials(of word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quotationMarks = word ^ (ones * UInt64(UInt8(ascii: "\"")))
        let backslashes = word ^ (ones * UInt64(UInt8(ascii: "\\")))
        let found =
            (word &- ones * 0x20) & ~word | (quotationMarks &- ones) & ~quotationMarks | (backslashes &- ones)
            & ~backslashes
        return found & (ones * 0x80)
    }
}

/// Names of members that are read, to be found by their bytes.
public struct JSONNames: Sendable {
    private let names: [(text: String, bytes: [UInt8])]

    public init(_ names: [String]) { self.names = names.map { ($0, Array($0.utf8)) } }

    fileprivate func find(_ bytes: [UInt8], _ range: Range<Int>) -> String? {
        for name in names where name.bytes.count == range.count {
            if zip(name.bytes, bytes[range]).allSatisfy({ $0 == $1 }) { return name.text }
        }
        return nil
    }

    fileprivate func find(_ text: String) -> String? { names.first { $0.text == text }?.text }
}

/// Reads bytes that are valid UTF-8.
private struct JSONReader {
    struct Malformed: Error {}

    /// How deep arrays and objects may stand in one another: their reader's own stack is not endless.
    private static let depthMax = 512

    let bytes: [UInt8]
    private var at = 0
    private var depth = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func whole(keeping names: JSONNames?) throws(Malformed) -> JSONValue {
        skipSpace()
        let value = next == UInt8(ascii: "{") ? try object(keeping: names) : try value()
        skipSpace()
        guard at == bytes.count else { throw Malformed() }
        return value
    }

    private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func skipSpace() {
        var index = at
        while index < bytes.count, bytes[index] <= 0x20 {
            let byte = bytes[index]
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { break }
            index += 1
        }
        at = index
    }

    /// Steps over that byte, which must be the next.
    private mutating func take(_ byte: UInt8) throws(Malformed) {
        guard next == byte else { throw Malformed() }
        at += 1
    }

    /// Steps over the byte if it is the next.
    private mutating func takes(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        at += 1
        return true
    }

    private mutating func value() throws(Malformed) -> JSONValue {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws(Malformed) -> JSONValue {
        for byte in word.utf8 { try take(byte) }
        return value
    }

    private mutating func enter() throws(Malformed) {
        at += 1
        depth += 1
        guard depth <= Self.depthMax else { throw Malformed() }
        skipSpace()
    }

    private mutating func object(keeping names: JSONNames? = nil) throws(Malformed) -> JSONValue {
        try enter()
        defer { depth -= 1 }
        var members = [String: JSONValue](minimumCapacity: names == nil ? 4 : 16)
        if takes(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw Malformed() }
            let name = if let names { try name(of: names) } else { try string() as String? }
            skipSpace()
            try take(UInt8(ascii: ":"))
            if let name { members[name] = try value() } else { try skipValue() }
            skipSpace()
            if takes(UInt8(ascii: "}")) { return .object(members) }
            try take(UInt8(ascii: ","))
        }
    }

    private mutating func array() throws(Malformed) -> JSONValue {
        try enter()
        defer { depth -= 1 }
        var elements: [JSONValue] = []
        if takes(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try value())
            skipSpace()
            if takes(UInt8(ascii: "]")) { return .array(elements) }
            try take(UInt8(ascii: ","))
        }
    }

    /// Texts and numbers are most of what is not wanted, and come to nothing here.
    private mutating func skipValue() throws(Malformed) {
        skipSpace()
        switch next {
        case UInt8(ascii: "\""): try skipString()
        default: _ = try value()
        }
    }

    // MARK: Strings

    /// Goes on to the string's end, or to what has to be looked at byte by byte.
    /// - Returns: whether it is the end.
    private mutating func scanString() throws(Malformed) -> Bool {
        guard let special = bytes.span.firstSpecial(from: at + 1), bytes[special] >= 0x20 else { throw Malformed() }
        at = special
        return bytes[special] == UInt8(ascii: "\"")
    }

    private mutating func skipString() throws(Malformed) {
        let start = at + 1
        if try scanString() { at += 1 } else { _ = try escapedString(from: start) }
    }

    private mutating func string() throws(Malformed) -> String {
        let start = at + 1
        guard try scanString() else { return try escapedString(from: start) }
        at += 1
        return text(start..<at - 1)
    }

    /// Of whole characters, since all bytes are UTF-8 and it is between two of ASCII's.
    private func text(_ range: Range<Int>) -> String {
        unsafe String(copying: UTF8Span(unchecked: bytes.span.extracting(range)))
    }

    /// One of the names, or nil for any other.
    private mutating func name(of names: JSONNames) throws(Malformed) -> String? {
        let start = at + 1
        guard try scanString() else { return names.find(try escapedString(from: start)) }
        at += 1
        return names.find(bytes, start..<at - 1)
    }

    /// - Parameter start: where the string's text begins; there is no escape before `at`.
    private mutating func escapedString(from start: Int) throws(Malformed) -> String {
        var text = Array(bytes[start..<at])
        while let byte = next {
            at += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw Malformed()
            default: text.append(byte)
            }
        }
        throw Malformed()
    }

    private mutating func escape(into text: inout [UInt8]) throws(Malformed) {
        guard let byte = next else { throw Malformed() }
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text += String(Character(try scalar())).utf8
        default: throw Malformed()
        }
    }

    private mutating func scalar() throws(Malformed) -> Unicode.Scalar {
        let first = try codeUnit()
        if let scalar = Unicode.Scalar(first) { return scalar }
        let behind = at
        if UTF16.isLeadSurrogate(first), takes(UInt8(ascii: "\\")), takes(UInt8(ascii: "u")) {
            let second = try codeUnit()
            if UTF16.isTrailSurrogate(second) {
                let value = 0x1_0000 + (UInt32(first) - 0xD800) << 10 + (UInt32(second) - 0xDC00)
                return Unicode.Scalar(value) ?? "\u{FFFD}"
            }
        }
        // What follows speaks for itself.
        at = behind
        return "\u{FFFD}"
    }

    private mutating func codeUnit() throws(Malformed) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { throw Malformed() }
            at += 1
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }

    // MARK: Numbers

    private mutating func number() throws(Malformed) -> JSONValue {
        let start = at
        let isNegative = takes(UInt8(ascii: "-"))
        let firstDigit = at
        let whole = try digits()
        guard at - firstDigit == 1 || bytes[firstDigit] != UInt8(ascii: "0") else { throw Malformed() }
        var isWhole = true
        if takes(UInt8(ascii: ".")) {
            isWhole = false
            _ = try digits()
        }
        if takes(UInt8(ascii: "e")) || takes(UInt8(ascii: "E")) {
            isWhole = false
            if !takes(UInt8(ascii: "+")) { _ = takes(UInt8(ascii: "-")) }
            _ = try digits()
        }
        if isWhole, let whole { return .integer(isNegative ? -whole : whole) }
        guard let number = Double(text(start..<at)), number.isFinite else { return .null }
        return JSONValue(number: number)
    }

    /// The value of at least one digit; nil for one that does not fit.
    private mutating func digits() throws(Malformed) -> Int64? {
        let start = at
        var value: Int64? = 0
        while let byte = next, (0x30...0x39).contains(byte) {
            at += 1
            let (tens, isLarge) = (value ?? 0).multipliedReportingOverflow(by: 10)
            let (sum, isLarger) = tens.addingReportingOverflow(Int64(byte - 0x30))
            value = value == nil || isLarge || isLarger ? nil : sum
        }
        guard at > start else { throw Malformed() }
        return value
    }
}
