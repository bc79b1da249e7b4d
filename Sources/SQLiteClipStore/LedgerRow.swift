// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import FoundationEssentials
import GRDB

/// Translates between a ledger entry and its row.
enum LedgerRow {
    static func columns(of request: Signal.Request) -> (kind: String, requestedStatus: String?) {
        switch request {
        case .status(let status): ("status", status.rawValue)
        case .unknown(let word): ("status", word)
        case .retry: ("retry", nil)
        }
    }

    static func entry(_ row: Row) throws -> LedgerEntry {
        let seq: Int64 = row["seq"]
        guard let uid = ClipUID(row["uid"] as String), let source = SignalSource(rawValue: row["source"]) else {
            throw StoreError(.corrupt, "ledger entry \(seq) has an unknown uid or source")
        }
        let request: Signal.Request =
            row["kind"] == "retry" ? .retry : .init(requestedStatus: row["requested_status"] ?? "")
        return LedgerEntry(
            seq: seq, at: Timestamp(milliseconds: row["at"]),
            signal: Signal(
                uid: uid, source: source, request: request, details: JSONText.decodeObject(row["details"]),
                percent: row["percent"]),
            delivery: (row["delivery"] as Int64?).map(String.init),
            outcome: (row["outcome"] as String?).flatMap(LedgerEntry.Outcome.init(rawValue:)),
            reason: (row["reason"] as String?).flatMap(RejectionReason.init(rawValue:)),
            from: (row["from_status"] as String?).flatMap(ClipStatus.init(rawValue:)),
            to: (row["to_status"] as String?).flatMap(ClipStatus.init(rawValue:)))
    }
}

/// JSON columns.
enum JSONText {
    static func encode(_ details: Details) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(details), as: UTF8.self)
    }

    /// The object in the text; empty for null and for what is no object.
    static func decodeObject(_ text: String?) -> Details {
        guard let text, let details = try? JSONDecoder().decode(Details.self, from: Data(text.utf8)) else { return [:] }
        return details
    }
}
