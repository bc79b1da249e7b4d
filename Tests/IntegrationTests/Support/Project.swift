// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The folder of the package.
enum Project {
    static let root = (0..<4).reduce(URL(filePath: #filePath)) { path, _ in path.deletingLastPathComponent() }
    static let fixtures = root.appending(path: "fixtures")
}
