// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// The rules of `If-Match` and its relatives, for an entity tag kept without its quotes.
enum EntityTag {
    /// Whether one of a header's tags, or `*`, is this one.
    static func matches(_ header: String, _ tag: String?) -> Bool {
        guard let tag else { return false }
        return header.split(separator: ",").contains { item in
            let item = bare(item)
            return item == "*" || item == tag
        }
    }

    /// Without blanks, the mark of weakness and quotes.
    static func bare(_ text: some StringProtocol) -> String {
        var text = Substring(text)
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        if text.hasPrefix("W/") { text.removeFirst(2) }
        if text.count >= 2, text.first == "\"", text.last == "\"" { text = text.dropFirst().dropLast() }
        return String(text)
    }
}
