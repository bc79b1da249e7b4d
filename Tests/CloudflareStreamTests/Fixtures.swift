// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The files under `fixtures/`.
enum Fixture {
    static func json(_ path: String) throws -> Data {
        var root = URL(filePath: #filePath)
        for _ in 0..<3 { root.deleteLastPathComponent() }
        return try Data(contentsOf: root.appending(path: "fixtures").appending(path: path))
    }
}
