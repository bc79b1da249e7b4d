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

/// A delivery's signal as the text of one column, a JSON array; its clip is in another column.
package enum SignalText {
    package static func encode(_ signal: Signal) -> String {
        let (kind, word) = signal.request.columns
        return JSONValue.array([
            .string(signal.source.rawValue), .string(kind), word.map(JSONValue.string) ?? .null,
            signal.percent.map(JSONValue.double) ?? .null, signal.trace.map { .string($0.rawValue) } ?? .null,
            .object(signal.details),
        ]).json
    }

    package static func decode(_ text: String, uid: ClipUID) -> Signal? {
        guard case .array(let items) = JSONValue(json: Array(text.utf8)), items.count == 6,
            let source = items[0].stringValue.flatMap(SignalSource.init(rawValue:)), let kind = items[1].stringValue,
            let details = items[5].objectValue
        else { return nil }
        return Signal(
            uid: uid, source: source, request: .init(kind: kind, requestedStatus: items[2].stringValue),
            details: details, percent: items[3].numberValue,
            trace: items[4].stringValue.flatMap(TraceID.init(rawValue:)))
    }
}
