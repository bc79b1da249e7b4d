// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import GRDB

/// Translates a row of the ledger.
enum LedgerRow {
    static func entry(_ row: Row) throws -> LedgerEntry {
        let seq: Int64 = row["seq"]
        guard let uid = ClipUID(row["uid"] as String), let source = SignalSource(rawValue: row["source"]) else {
            throw StoreError(.corrupt, "ledger entry \(seq) has an unknown uid or source")
        }
        let request = Signal.Request(kind: row["kind"], requestedStatus: row["requested_status"])
        return LedgerEntry(
            seq: seq, at: Timestamp(milliseconds: row["at"]),
            signal: Signal(
                uid: uid, source: source, request: request, details: DetailsText.decodeObject(row["details"]),
                percent: row["percent"], trace: (row["trace"] as String?).flatMap(TraceID.init(rawValue:))),
            delivery: (row["delivery"] as Int64?).map(String.init),
            outcome: (row["outcome"] as String?).flatMap(LedgerEntry.Outcome.init(rawValue:)),
            reason: (row["reason"] as String?).flatMap(RejectionReason.init(rawValue:)),
            from: (row["from_status"] as String?).flatMap(ClipStatus.init(rawValue:)),
            to: (row["to_status"] as String?).flatMap(ClipStatus.init(rawValue:)))
    }
}
