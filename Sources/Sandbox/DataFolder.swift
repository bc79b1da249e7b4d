// clipbridge
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// The sandbox's folder: `r2/` holds the buckets, `sources/` the videos' files.
struct DataFolder: Sendable {
    let path: String

    var buckets: String { "\(path)/r2" }
    var sources: String { "\(path)/sources" }

    func prepare() throws {
        for folder in [buckets, sources] { try Self.makeFolder(folder) }
    }

    func source(of uid: String) -> String { "\(sources)/\(uid).mp4" }

    static func makeFolder(_ path: String) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    /// What is not there need not be removed.
    static func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

    static func removeIfEmpty(_ path: String) {
        if names(in: path).isEmpty { remove(path) }
    }

    /// The names in a folder, none where there is no folder.
    static func names(in path: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }

    /// Appears under its name only when it is whole.
    static func write(_ data: Data, to path: String) throws {
        try data.write(to: URL(filePath: path), options: .atomic)
    }

    static func read(_ path: String) throws -> Data { try Data(contentsOf: URL(filePath: path)) }
}
