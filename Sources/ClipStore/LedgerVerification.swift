// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// Folds the ledger anew through the state machine and compares the outcome with the `clips` table.
public struct LedgerVerification: Sendable, Equatable {
    public struct Difference: Sendable, Equatable {
        public var uid: String
        public var text: String
    }

    public var clips = 0
    public var entries = 0
    public var pending = 0
    public var differences: [Difference] = []

    public init() {}

    /// Walks the whole store in pages, each in a transaction of its own.
    public static func run(on store: some ClipStore, page: Int = 500) async throws -> LedgerVerification {
        var result = LedgerVerification()
        var last: String?
        while true {
            let after = last
            let (found, part) = try await store.read { transaction in
                var part = LedgerVerification()
                let uids = try transaction.uids(after: after, limit: page)
                for text in uids {
                    guard let uid = ClipUID(text) else { continue }
                    try part.verify(uid, clip: transaction.clip(uid), history: transaction.history(of: uid))
                }
                return (uids, part)
            }
            result.clips += part.clips
            result.entries += part.entries
            result.pending += part.pending
            result.differences += part.differences
            guard let end = found.last else { return result }
            last = end
        }
    }

    private mutating func verify(_ uid: ClipUID, clip: ClipRecord?, history: [LedgerEntry]) {
        clips += 1
        var machine = ClipStateMachine(position: .absent)
        for entry in history {
            entries += 1
            guard let outcome = entry.outcome else {
                pending += 1
                continue
            }
            if let text = refold(entry, outcome: outcome, machine: &machine) { note(uid, text) }
        }
        compare(uid, machine: machine, clip: clip)
    }

    /// - Returns: how the ledger's decision differs from the machine's, in words.
    private func refold(
        _ entry: LedgerEntry, outcome: LedgerEntry.Outcome, machine: inout ClipStateMachine
    ) -> String? {
        switch entry.reason {
        case .unknownClip, .unknownStatus:
            // Decided by the table, which is not in the ledger.
            return nil
        case .backward, .terminal, nil:
            break
        }
        // A row that was deleted and came back begins anew.
        if outcome == .applied, entry.from == nil { machine = ClipStateMachine(position: .absent) }
        let before = machine
        var expected = entry
        expected.settle(machine.receive(entry.signal, createsUnknown: true), before: before)
        if expected == entry { return nil }
        if let to = entry.to, outcome == .applied {
            machine = ClipStateMachine(position: .at(to), failedFrom: entry.from, progress: machine.progress)
        }
        return "entry \(entry.seq) is \(Self.words(entry)), the rules make it \(Self.words(expected))"
    }

    private mutating func compare(_ uid: ClipUID, machine: ClipStateMachine, clip: ClipRecord?) {
        switch (machine.position, clip) {
        case (.absent, nil), (.foreign, _):
            break
        case (.absent, let clip?):
            if clip.status != nil, clip.isMet {
                note(uid, "the table says \"\(clip.statusWord ?? "null")\", the ledger knows no clip")
            }
        case (.at(let status), nil):
            note(uid, "the ledger says \"\(status.rawValue)\", the table has no row")
        case (.at(let status), let clip?):
            if clip.status != status {
                note(uid, "the ledger says \"\(status.rawValue)\", the table says \"\(clip.statusWord ?? "null")\"")
            }
        }
    }

    private mutating func note(_ uid: ClipUID, _ text: String) {
        differences.append(Difference(uid: uid.rawValue, text: text))
    }

    private static func words(_ entry: LedgerEntry) -> String {
        let outcome = entry.outcome?.rawValue ?? "undecided"
        let reason = entry.reason.map { " (\($0.rawValue))" } ?? ""
        return "\(outcome)\(reason) \(entry.from?.rawValue ?? "nothing") → \(entry.to?.rawValue ?? "nothing")"
    }
}
