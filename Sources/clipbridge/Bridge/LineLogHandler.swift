// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Logging

/// Writes one line for each record to standard error: JSON for machines, or words for people.
struct LineLogHandler: LogHandler {
    var format: Settings.LogFormat
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    private let label: String

    init(label: String, format: Settings.LogFormat, level: Logger.Level) {
        self.label = label
        self.format = format
        self.logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { _, own in own }
        let time = SystemWallClock().now().rfc3339
        let line =
            switch format {
            case .text: text(time, event, all)
            case .json: json(time, event, all)
            }
        Terminal.error(line)
    }

    private func text(_ time: String, _ event: LogEvent, _ metadata: Logger.Metadata) -> String {
        let pairs = metadata.sorted { $0.key < $1.key }.map { " \($0.key)=\(Self.quoted("\($0.value)"))" }.joined()
        return "\(time) \(event.level) \(event.message)\(pairs)"
    }

    private func json(_ time: String, _ event: LogEvent, _ metadata: Logger.Metadata) -> String {
        var object: [String: JSONValue] = [
            "time": .string(time), "level": .string(event.level.rawValue), "message": .string("\(event.message)"),
            "logger": .string(label),
        ]
        for (key, value) in metadata { object[key] = .string("\(value)") }
        return JSONText.line(.object(object))
    }

    /// A value with blanks or line ends can not be taken for the next one.
    private static func quoted(_ text: String) -> String {
        text.contains { $0.isWhitespace || $0 == "\"" || $0 == "=" } ? JSONText.line(.string(text)) : text
    }
}

enum JSONText {
    /// One line, keys in order.
    static func line(_ value: JSONValue) -> String { value.json }

    /// For people: indented.
    static func pretty(_ value: JSONValue) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "null"
    }
}
