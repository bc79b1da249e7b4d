// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// A table's or column's name as it is written in SQL: `clips`, `app.clips`, `"My Clips"`, `app."Clips"`.
public struct SQLName: Sendable, Hashable {
    /// The parts without their quotes, schema first.
    public let parts: [String]
    /// The name as it stood, to be put into a statement: quotes decide about case, so they are kept.
    public let sql: String

    /// Nil unless the text is one to three identifiers joined by full stops.
    public init?(_ text: String) {
        var parts: [String] = []
        var rest = Substring(text)
        while true {
            guard let part = Self.takeIdentifier(&rest) else { return nil }
            parts.append(part)
            guard rest.first == "." else { break }
            rest.removeFirst()
        }
        guard rest.isEmpty, (1...3).contains(parts.count) else { return nil }
        self.parts = parts
        self.sql = text
    }

    /// The last part.
    public var name: String { parts.last ?? "" }
    public var schema: String? { parts.count > 1 ? parts[parts.count - 2] : nil }

    private static func takeIdentifier(_ rest: inout Substring) -> String? {
        rest.first == "\"" ? takeQuoted(&rest) : takePlain(&rest)
    }

    private static func takePlain(_ rest: inout Substring) -> String? {
        let part = rest.prefix { $0 == "_" || $0 == "$" || $0.isLetter || $0.isNumber }
        guard let first = part.first, !first.isNumber, first != "$" else { return nil }
        rest = rest.dropFirst(part.count)
        return String(part)
    }

    private static func takeQuoted(_ rest: inout Substring) -> String? {
        rest.removeFirst()
        var part = ""
        while let character = rest.popFirst() {
            guard character == "\"" else {
                if character == "\0" { return nil }
                part.append(character)
                continue
            }
            guard rest.first == "\"" else { return part.isEmpty ? nil : part }
            rest.removeFirst()
            part.append("\"")
        }
        return nil
    }
}
