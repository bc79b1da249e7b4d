// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// Details as the text of a column.
package enum DetailsText {
    package static func encode(_ details: Details) -> String { JSONValue.object(details).json }

    /// The object in the text; empty for null and for what is no object.
    package static func decodeObject(_ text: String?) -> Details {
        text.flatMap { JSONValue(json: Array($0.utf8))?.objectValue } ?? [:]
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
