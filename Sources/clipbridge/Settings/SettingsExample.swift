// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// The settings as a file of `NAME=value` lines that sets none of them: what deploy/example.env is.
enum SettingsExample {
    static var text: String {
        ([head] + SettingName.definitions.map(entry)).joined(separator: "\n\n")
    }

    private static let head = """
        # clipbridge's settings: NAME=value lines, for `clipbridge serve --config FILE`, for systemd's EnvironmentFile=
        # and for containers. Values stand as they are, without quotes. A line that is commented out shows the default,
        # or nothing where there is none.
        # Made by `clipbridge config --example`.
        """

    private static func entry(_ definition: SettingDefinition) -> String {
        var lines = ["# \(definition.name.rawValue): \(definition.meaning)."]
        if definition.accepts != SettingDefinition.anyText { lines.append("# Accepted: \(definition.accepts).") }
        if let fileName = definition.name.fileName { lines.append("# \(fileName)=PATH takes it from a file instead.") }
        lines.append("#\(definition.name.rawValue)=\(definition.preset ?? "")")
        return lines.joined(separator: "\n")
    }
}
