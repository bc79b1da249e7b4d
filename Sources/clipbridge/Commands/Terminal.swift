// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Data goes to standard output; logs, progress and complaints to standard error.
enum Terminal {
    /// - Returns: false when its reader went away.
    @discardableResult
    static func output(_ line: String) -> Bool { write(line + "\n", to: .standardOutput) }
    static func error(_ line: String) { _ = write(line + "\n", to: .standardError) }

    /// Without a line's end: for progress that is drawn over.
    static func progress(_ text: String) { _ = write(text, to: .standardError) }

    static var isOutputTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
    static var isErrorTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Colour on a terminal, unless NO_COLOR says no (no-color.org: set and not empty).
    static var usesColour: Bool {
        isErrorTerminal && (ProcessInfo.processInfo.environment["NO_COLOR"] ?? "").isEmpty
    }

    private static func write(_ text: String, to handle: FileHandle) -> Bool {
        do {
            try handle.write(contentsOf: Data(text.utf8))
            return true
        } catch {
            // A reader that went away is no failure of ours.
            return false
        }
    }
}
