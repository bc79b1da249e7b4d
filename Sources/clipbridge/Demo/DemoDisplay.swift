// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import NIOConcurrencyHelpers

/// One bar for each clip, drawn over on a terminal; elsewhere one line for each change of status.
final class DemoDisplay: Sendable {
    private struct State: Sendable {
        var linesDrawn = 0
        var seen: [ClipUID: String] = [:]
    }

    /// More would not fit a screen.
    private static let barsMax = 40
    private static let barWidth = 24

    private let uids: [ClipUID]
    private let isTerminal = Terminal.isErrorTerminal
    private let usesColour = Terminal.usesColour
    private let state = NIOLockedValueBox(State())

    init(uids: [ClipUID]) { self.uids = uids }

    func show(_ records: [ClipUID: ClipRecord]) {
        if isTerminal { draw(records) } else { tell(records) }
    }

    func finish() {
        if isTerminal { Terminal.progress("\n") }
    }

    private func tell(_ records: [ClipUID: ClipRecord]) {
        let lines = state.withLockedValue { state in
            uids.compactMap { uid -> String? in
                guard let word = records[uid]?.statusWord, state.seen[uid] != word else { return nil }
                state.seen[uid] = word
                return "\(uid) \(word)"
            }
        }
        lines.forEach(Terminal.error)
    }

    private func draw(_ records: [ClipUID: ClipRecord]) {
        var lines = uids.prefix(Self.barsMax).map { line($0, records[$0]) }
        if uids.count > Self.barsMax {
            let done = uids.count { records[$0]?.status == .complete }
            lines.append("… \(uids.count) clips in all, \(done) complete")
        }
        let up = state.withLockedValue { state in
            defer { state.linesDrawn = lines.count }
            return state.linesDrawn
        }
        let back = up > 1 ? "\u{1B}[\(up - 1)A" : ""
        Terminal.progress("\r" + back + lines.map { "\u{1B}[2K\($0)" }.joined(separator: "\n"))
    }

    private func line(_ uid: ClipUID, _ record: ClipRecord?) -> String {
        guard let record, let status = record.status else {
            return "\(uid.rawValue.prefix(8))  \("(no webhook yet)".padded(16)) \(bar(0, nil))    0 %"
        }
        let percent = "\(Int(record.progress)) %".led(6)
        return "\(uid.rawValue.prefix(8))  \(status.rawValue.padded(16)) \(bar(record.progress, status)) \(percent)"
            + rate(record)
    }

    private func rate(_ record: ClipRecord) -> String {
        guard let rate = record.details[.transferBytesPerSecond]?.numberValue, rate > 0 else { return "" }
        return "  \((rate / 100_000).rounded() / 10) MB/s"
    }

    private func bar(_ percent: Double, _ status: ClipStatus?) -> String {
        let full = min(Self.barWidth, max(0, Int(percent / 100 * Double(Self.barWidth))))
        let text = String(repeating: "█", count: full) + String(repeating: "░", count: Self.barWidth - full)
        guard usesColour, let status else { return text }
        let colour = status == .error ? 31 : status == .complete ? 32 : 36
        return "\u{1B}[\(colour)m\(text)\u{1B}[0m"
    }
}
