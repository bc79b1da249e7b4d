// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// What became of the demo's clips.
struct DemoResult: Sendable {
    struct Row: Sendable {
        var uid: ClipUID
        var status: String
        var bytes: UInt64
        /// Why the clip counts as failed.
        var failure: String?
        /// Seconds in each status.
        var stages: [ClipStatus: Double]
    }

    var rows: [Row]
    var seconds: Double

    var isGood: Bool { rows.allSatisfy { $0.failure == nil } }

    var json: JSONValue {
        let failed = rows.filter { $0.failure != nil }.map { row in
            JSONValue.object([
                "uid": .string(row.uid.rawValue), "status": .string(row.status), "reason": .string(row.failure ?? ""),
            ])
        }
        return [
            "ok": .bool(isGood), "clips": .integer(Int64(rows.count)),
            "complete": .integer(Int64(rows.count { $0.status == ClipStatus.complete.rawValue })),
            "bytes": .integer(Int64(rows.reduce(0) { $0 + $1.bytes })),
            "seconds": .double((seconds * 1_000).rounded() / 1_000), "failed": .array(failed),
        ]
    }

    var table: String {
        let shown = ClipStatus.allCases.filter { status in rows.contains { $0.stages[status] != nil } }
        let header = ["uid".padded(32), "bytes".led(12)] + shown.map { $0.rawValue.led(14) } + ["  result"]
        let lines = rows.map { row in
            let stages = shown.map { (row.stages[$0].map { "\(Self.tenths($0)) s" } ?? "-").led(14) }
            return
                ([row.uid.rawValue.padded(32), String(row.bytes).led(12)] + stages + [
                    "  " + (row.failure ?? "bytes equal")
                ])
                .joined(separator: " ")
        }
        let sum =
            "\(rows.count { $0.failure == nil }) of \(rows.count) clips complete with their bytes compared, in "
            + "\(Self.tenths(seconds)) s"
        return ([header.joined(separator: " ")] + lines + [sum]).joined(separator: "\n")
    }

    private static func tenths(_ seconds: Double) -> String { String((seconds * 10).rounded() / 10) }
}

extension String {
    /// Filled with blanks behind.
    func padded(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
    /// Filled with blanks in front.
    func led(_ width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
