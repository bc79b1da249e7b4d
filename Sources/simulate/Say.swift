// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import Synchronization

/// Results go to standard output, everything else to standard error.
enum Say {
    private static let verbose = Atomic(false)

    static var isVerbose: Bool { verbose.load(ordering: .relaxed) }
    static func everything(_ isWanted: Bool) { verbose.store(isWanted, ordering: .relaxed) }

    static func output(_ line: String) { write(line, to: .standardOutput) }
    static func error(_ line: String) { write(line, to: .standardError) }

    private static func write(_ line: String, to handle: FileHandle) {
        try? handle.write(contentsOf: Data((line + "\n").utf8))
    }
}

extension Say {
    static let silent = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }

    /// For one process of the bridge: heard only where everything is wanted.
    static func logger(_ owner: String) -> Logger {
        isVerbose ? Logger(label: owner) { StreamLogHandler.standardError(label: $0) } : silent
    }
}
