// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Foundation
import SystemPackage

/// The settings as texts: flag before environment before `--config` file before default.
struct RawSettings: Sendable {
    private let reader: ConfigReader
    private let hasFlag: Set<SettingName>

    /// - Throws: `SettingsError` when the file can not be read.
    init(
        flags: [SettingName: String], environment: [String: String] = ProcessInfo.processInfo.environment,
        configFile: String?
    ) async throws(SettingsError) {
        guard let configFile else {
            self.init(flags: flags, environment: environment, file: nil)
            return
        }
        do {
            let file = try await EnvironmentVariablesProvider(environmentFilePath: FilePath(configFile))
            self.init(flags: flags, environment: environment, file: file)
        } catch {
            throw SettingsError("--config", "\"\(configFile)\" can not be read", accepts: "a file of NAME=value lines")
        }
    }

    init(flags: [SettingName: String], environment: [String: String], file: EnvironmentVariablesProvider?) {
        let given = Dictionary(uniqueKeysWithValues: flags.map { ($0.key.rawValue, $0.value) })
        let providers = [given, environment].map { EnvironmentVariablesProvider(environmentVariables: $0) }
        reader = ConfigReader(providers: providers + [file].compactMap(\.self))
        hasFlag = Set(flags.keys)
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
