// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import FoundationEssentials

/// Details as the text of a column.
package enum DetailsText {
    /// Keys in order, so that the same details are the same text.
    package static func encode(_ details: Details) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(details), as: UTF8.self)
    }

    /// The object in the text; empty for null and for what is no object.
    package static func decodeObject(_ text: String?) -> Details {
        guard let text, let details = try? JSONDecoder().decode(Details.self, from: Data(text.utf8)) else { return [:] }
        return details
    }
}

extension Signal.Request {
    /// The columns that hold it.
    package var columns: (kind: String, requestedStatus: String?) {
        switch self {
        case .status(let status): ("status", status.rawValue)
        case .unknown(let word): ("status", word)
        case .retry: ("retry", nil)
        }
    }

    package init(kind: String, requestedStatus: String?) {
        self = kind == "retry" ? .retry : .init(requestedStatus: requestedStatus ?? "")
    }
}
