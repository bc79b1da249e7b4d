// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOConcurrencyHelpers

/// A bar that is drawn over on a terminal: of the download, and once the upload has begun of that.
final class TransferDisplay: Sendable {
    private struct State: Sendable {
        var isUpload = false
        var isDrawn = false
    }

    private static let barWidth = 24

    private let isOn: Bool
    private let state = NIOLockedValueBox(State())

    init(isOn: Bool) { self.isOn = isOn && Terminal.isErrorTerminal }

    func show(_ observation: Observation) {
        guard isOn else { return }
        let isUpload = state.withLockedValue { state in
            if observation.status == .r2Uploading { state.isUpload = true }
            return state.isUpload
        }
        guard let line = Self.line(observation, isUpload: isUpload) else { return }
        state.withLockedValue { $0.isDrawn = true }
        Terminal.progress("\r\u{1B}[2K\(line)")
    }

    /// Leaves the line to other words.
    func clear() {
        let isDrawn = state.withLockedValue { state in
            defer { state.isDrawn = false }
            return state.isDrawn
        }
        if isDrawn { Terminal.progress("\r\u{1B}[2K") }
    }

    /// Nil for an observation without figures. Narrower than the 80 columns that any terminal has.
    static func line(_ observation: Observation, isUpload: Bool) -> String? {
        let details = observation.details
        guard let bytes = details[.transferBytes]?.integerValue else { return nil }
        var words = [(isUpload ? "upload" : "download").padded(8)]
        if let percent = observation.percent {
            let full = min(barWidth, max(0, Int(percent / 100 * Double(barWidth))))
            words.append(String(repeating: "█", count: full) + String(repeating: "░", count: barWidth - full))
            words.append("\(Int(percent)) %".led(5))
        }
        let total = details[.transferTotalBytes]?.integerValue.map { " of \(megabytes($0))" } ?? ""
        words.append("\(megabytes(bytes))\(total) MB")
        if let rate = details[.transferBytesPerSecond]?.integerValue { words.append("\(megabytes(rate)) MB/s") }
        if let seconds = details[.transferSecondsLeft]?.integerValue {
            words.append(seconds < 120 ? "\(seconds) s left" : "\(seconds / 60) min left")
        }
        return words.joined(separator: "  ")
    }

    private static func megabytes(_ bytes: Int64) -> String { "\((Double(bytes) / 100_000).rounded() / 10)" }
}
