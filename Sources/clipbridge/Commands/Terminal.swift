// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Data goes to standard output; logs, progress and complaints to standard error.
enum Terminal {
    /// - Returns: false when its reader went away.
    @discardableResult
    static func output(_ line: String) -> Bool { write(harmless(line) + "\n", to: .standardOutput) }
    static func error(_ line: String) { _ = write(harmless(line) + "\n", to: .standardError) }

    /// A clip's details and names come from outside, and a control character in them could rewrite what is on the
    /// screen, or type for its user.
    private static func harmless(_ line: String) -> String {
        func isControl(_ scalar: Unicode.Scalar) -> Bool {
            (scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)) && scalar != "\n" && scalar != "\t"
        }
        if !line.unicodeScalars.contains(where: isControl) { return line }
        return String(String.UnicodeScalarView(line.unicodeScalars.map { isControl($0) ? "\u{FFFD}" : $0 }))
    }

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
