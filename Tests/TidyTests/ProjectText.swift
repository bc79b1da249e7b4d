// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The package's own text files, found from where this one lies.
struct ProjectText: Sendable {
    struct File: Sendable {
        /// From the package's folder.
        var path: String
        var lines: [Substring]
    }

    /// A place that breaks a rule, as compilers write it.
    struct Finding: Sendable, CustomStringConvertible {
        var file: File
        var index: Int

        var description: String { "\(file.path):\(index + 1): \(file.lines[index])" }
    }

    static let root = (0..<3).reduce(URL(filePath: #filePath)) { path, _ in path.deletingLastPathComponent() }

    /// Everything that people write here by hand; fixtures are what they are.
    static let all = ProjectText(below: ["Sources", "Tests", "deploy", ".ci", "Package.swift", "README.md"])
    static let swift = all.filter { $0.hasSuffix(".swift") }
    static let sources = swift.filter { $0.hasPrefix("Sources/") }
    static let tests = swift.filter { $0.hasPrefix("Tests/") }

    var files: [File]

    init(files: [File]) { self.files = files }

    init(below names: [String]) {
        files = names.flatMap(Self.paths).sorted().compactMap { path in
            guard let text = try? Self.text(path) else { return nil }
            return File(path: path, lines: text.split(separator: "\n", omittingEmptySubsequences: false))
        }
    }

    func filter(_ isWanted: (String) -> Bool) -> ProjectText {
        ProjectText(files: files.filter { isWanted($0.path) })
    }

    /// Where the rule is broken; it sees a file and the number of a line in it.
    func findings(_ isBroken: (File, Int) -> Bool) -> [Finding] {
        files.flatMap { file in
            file.lines.indices.filter { isBroken(file, $0) }.map { Finding(file: file, index: $0) }
        }
    }

    /// Lines in which one of the words stands.
    func mentions(of words: [String]) -> [Finding] {
        findings { file, index in words.contains { file.lines[index].contains($0) } }
    }

    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// The paths of all files at or below one, hidden ones too, but not what Python leaves behind.
    static func paths(_ name: String) -> [String] {
        guard isFolder(name) else { return [name] }
        let below = (try? FileManager.default.subpathsOfDirectory(atPath: root.appending(path: name).path())) ?? []
        return below.map { "\(name)/\($0)" }.filter { !isFolder($0) && !$0.contains("/__pycache__/") }
    }

    private static func isFolder(_ path: String) -> Bool {
        (try? root.appending(path: path).resourceValues(forKeys: [.isDirectoryKey]).isDirectory) == true
    }

    /// The names in a folder.
    static func names(in folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: root.appending(path: folder).path()).sorted()
    }
}
