// clipbridge
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import OutboundHTTP

/// Puts a response's head together from the lines that libcurl hands over one at a time; interim (1xx) heads and
/// trailers are read over. Total: nothing that a server sends traps.
struct HeadParser {
    /// All heads and trailers of one exchange together. Cloudflare and R2 send a few KiB.
    static let bytesMax = 64 * 1024

    enum Outcome: Equatable {
        case needsMore
        /// The final head; said once.
        case complete(ResponseHead)
        case tooLarge
    }

    private(set) var bytes = 0
    private var status = 0
    private var fields: [(name: String, value: String)] = []
    private(set) var head: ResponseHead?

    mutating func receive(_ line: some Collection<UInt8>) -> Outcome {
        bytes += line.count
        guard bytes <= Self.bytesMax else { return .tooLarge }
        guard head == nil else { return .needsMore }
        let text = String(decoding: line, as: UTF8.self).trimmingLineEnd()
        if text.isEmpty { return finish() }
        if text.hasPrefix("HTTP/") {
            start(text)
        } else {
            add(text)
        }
        return .needsMore
    }

    private mutating func start(_ text: Substring) {
        fields.removeAll()
        let words = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: true)
        status = words.count > 1 ? Int(words[1]) ?? 0 : 0
    }

    private mutating func add(_ text: Substring) {
        if text.first == " " || text.first == "\t" {
            // A folded line, which HTTP/1.1 has done away with but old servers still send.
            guard let last = fields.indices.last else { return }
            fields[last].value += " " + text.trimmingBlanks()
        } else if let colon = text.firstIndex(of: ":") {
            let value = text[text.index(after: colon)...].trimmingBlanks()
            fields.append((String(text[..<colon]), String(value)))
        }
    }

    private mutating func finish() -> Outcome {
        guard status >= 200 else { return .needsMore }
        var headers = HTTPFields()
        for (name, value) in fields {
            guard let name = HTTPField.Name(name) else { continue }
            headers.append(HTTPField(name: name, value: value))
        }
        // With a transfer coding the length that a server may still state means nothing (RFC 9112, 6.3).
        let isCoded = headers.contains(.transferEncoding)
        let length = isCoded ? nil : headers[values: .contentLength].first.flatMap { UInt64($0) }
        let head = ResponseHead(status: status, headers: headers, contentLength: length)
        self.head = head
        fields.removeAll()
        return .complete(head)
    }
}

extension String {
    fileprivate func trimmingLineEnd() -> Substring {
        // "\r\n" is a single Character.
        var text = self[...]
        while let last = text.last, last.isNewline { text.removeLast() }
        return text
    }
}

extension Substring {
    fileprivate func trimmingBlanks() -> Substring {
        var text = drop { $0 == " " || $0 == "\t" }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}
