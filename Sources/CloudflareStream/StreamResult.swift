// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// What is read from an answer's `result`, or from a webhook.
package protocol StreamResult {
    /// - Returns: nil when it is not there.
    init?(json: JSONValue)
}

/// Reads what can be read: a member that is absent, null or of another type than expected is nil, never a failure.
///
/// Cloudflare's specification calls nothing nullable while its own samples hold nulls, and fields come and go; one odd
/// member must not cost us the rest of the object.
extension [String: JSONValue] {
    /// A text that is not empty.
    package func text(_ name: String) -> String? {
        guard let text = self[name]?.stringValue, !text.isEmpty else { return nil }
        return text
    }

    func time(_ name: String) -> Timestamp? { text(name).flatMap(Timestamp.init(rfc3339:)) }

    func whole(_ name: String) -> Int64? { self[name]?.numberValue.flatMap { Int64(exactly: $0) } }

    /// The members of an object.
    package func members(_ name: String) -> [String: JSONValue]? { self[name]?.objectValue }
}

/// The elements of a list, of which those are nil that can not be read.
struct StreamList<Element: StreamResult>: StreamResult {
    var elements: [Element?]

    init?(json: JSONValue) {
        guard case .array(let elements) = json else { return nil }
        self.elements = elements.map { Element(json: $0) }
    }
}
