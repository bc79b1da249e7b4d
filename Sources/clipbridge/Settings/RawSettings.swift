// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Foundation

/// The settings as texts: flag before environment before `--config` file before default.
struct RawSettings: Sendable {
    private let reader: ConfigReader
    private let hasFlag: Set<SettingName>

    /// - Throws: `SettingsError` when the file can not be read.
    init(
        flags: [SettingName: String], environment: [String: String] = ProcessInfo.processInfo.environment,
        configFile: String?
    ) throws(SettingsError) {
        let given = Dictionary(uniqueKeysWithValues: flags.map { ($0.key.rawValue, $0.value) })
        var sources = [given, environment]
        if let configFile { sources.append(try Self.lines(of: configFile)) }
        reader = ConfigReader(providers: sources.map { EnvironmentVariablesProvider(environmentVariables: $0) })
        hasFlag = Set(flags.keys)
    }

    /// The last of several lines of one name counts. The library's own reader of such files takes one with CRLF for a
    /// single line, and says nothing of lines that it can not use: a token that is not read leaves a door open.
    private static func lines(of path: String) throws(SettingsError) -> [String: String] {
        guard let content = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw SettingsError(
                "--config", "\"\(path)\" can not be read", accepts: "a file of NAME=value lines in UTF-8")
        }
        let text =
            content.unicodeScalars.first == "\u{FEFF}" ? Substring(content.unicodeScalars.dropFirst()) : content[...]
        var values: [String: String] = [:]
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.isEmpty || line.hasPrefix("#") { continue }
            let pair = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                .map { $0.trimmingCharacters(in: .whitespaces) }
            guard pair.count == 2, pair[0].wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) != nil else {
                // Without the line itself: it may hold a secret.
                throw SettingsError(
                    "--config", "\"\(path)\", line \(index + 1), is not read",
                    accepts: "NAME=value, a comment with #, or nothing")
            }
            values[pair[0]] = pair[1]
        }
        return values
    }

    /// What was given; nil for nothing, which an empty text is too.
    func given(_ name: SettingName) throws(SettingsError) -> String? {
        let value = text(name.rawValue, isSecret: name.isSecret)
        guard let fileName = name.fileName, !hasFlag.contains(name), let path = text(fileName, isSecret: false) else {
            return value
        }
        if value != nil {
            throw SettingsError(name.rawValue, "is set, and so is \(fileName)", accepts: "only one of the two")
        }
        guard let content = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw SettingsError(fileName, "names \"\(path)\", which can not be read", accepts: "a readable file")
        }
        let secret = content.trimmingCharacters(in: .whitespacesAndNewlines)
        return secret.isEmpty ? nil : secret
    }

    private func text(_ name: String, isSecret: Bool) -> String? {
        let key = ConfigKey(name.lowercased().split(separator: "_").map(String.init))
        let value = reader.string(forKey: key, isSecret: isSecret)
        return value.flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// A setting that can not be used; ends the program with exit code 78.
struct SettingsError: Error, CustomStringConvertible {
    var name: String
    var what: String
    var accepts: String

    init(_ name: String, _ what: String, accepts: String) {
        self.name = name
        self.what = what
        self.accepts = accepts
    }

    var description: String { "\(name) \(what); accepted is \(accepts)" }
}
