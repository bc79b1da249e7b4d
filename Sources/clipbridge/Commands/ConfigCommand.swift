// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle

struct ConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Prints the settings in force, secrets hidden.")

    @Flag(help: "Print JSON.") var json = false
    @Flag(help: "Print a file for --config with every setting's meaning and default instead.") var example = false
    @OptionGroup var options: SettingsOptions

    func validate() throws {
        if example, json { throw ValidationError("--example and --json exclude each other") }
    }

    func run() async throws {
        if example {
            Terminal.output(SettingsExample.text)
            return
        }
        let settings = try options.load()
        let shown = SettingName.allCases.map { ($0.rawValue, Self.shown($0, settings.values[$0])) }
        guard json else {
            for (name, value) in shown { Terminal.output("\(name)=\(value ?? "")") }
            return
        }
        let members = shown.map { ($0, $1.map(JSONValue.string) ?? .null) }
        Terminal.output(JSONText.pretty(.object(Dictionary(uniqueKeysWithValues: members))))
    }

    private static func shown(_ name: SettingName, _ value: String?) -> String? {
        guard let value else { return nil }
        // A local database's path is no secret, and worth seeing.
        if name == .databaseURL, value.hasPrefix("sqlite:") { return value }
        return name.isSecret ? "(hidden)" : value
    }
}
