// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import GRDB

/// Translates a row of the ledger.
enum LedgerRow {
    /// What `entry` takes by place; behind it the columns that only a copy of the store wants.
    static let select = """
        SELECT seq, uid, at, source, kind, requested_status, percent, details, delivery, outcome, reason, from_status,
            to_status, trace, epoch, decided_at
        FROM clipbridge_ledger
        """

    /// The same of what is undecided.
    static let selectPending = """
        SELECT seq, uid, at, source, kind, requested_status, percent, details, delivery, NULL, NULL, NULL, NULL, trace
        FROM clipbridge_pending
        """

    static func entry(_ row: Row) throws -> LedgerEntry {
        let seq: Int64 = row[0]
        guard let uid = ClipUID(row[1] as String), let source = SignalSource(rawValue: row[3]) else {
            throw StoreError(.corrupt, "ledger entry \(seq) has an unknown uid or source")
        }
        let request = Signal.Request(kind: row[4], requestedStatus: row[5])
        return LedgerEntry(
            seq: seq, at: Timestamp(milliseconds: row[2]),
            signal: Signal(
                uid: uid, source: source, request: request, details: DetailsText.decodeObject(row[7]),
                percent: row[6], trace: (row[13] as String?).flatMap(TraceID.init(rawValue:))),
            delivery: (row[8] as Int64?).map(String.init),
            outcome: (row[9] as String?).flatMap(LedgerEntry.Outcome.init(rawValue:)),
            reason: (row[10] as String?).flatMap(RejectionReason.init(rawValue:)),
            from: (row[11] as String?).flatMap(ClipStatus.init(rawValue:)),
            to: (row[12] as String?).flatMap(ClipStatus.init(rawValue:)))
    }
}
