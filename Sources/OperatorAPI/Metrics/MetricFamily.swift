// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// One metric with everything that is known of it at one moment.
package struct MetricFamily: Sendable {
    package enum Kind: String, Sendable {
        case counter, gauge, histogram
    }

    let name: String
    let kind: Kind
    /// One sentence for people; nil for a metric that nobody has described.
    let help: String?
    var samples: [MetricSample] = []

    package init(_ name: String, _ kind: Kind, _ help: String?) {
        self.name = name
        self.kind = kind
        self.help = help
    }

    /// One that was read just now; without a value its reading has failed, and only its name is shown.
    init(_ name: String, _ kind: Kind, _ help: String, value: Double?) {
        self.init(name, kind, help)
        if let value { samples = [MetricSample(LabelSet(), MetricText.number(value))] }
    }

    /// The metric in text exposition format 0.0.4.
    var text: String {
        let description = help.map { "# HELP \(name) \(MetricText.escapedHelp($0))\n" } ?? ""
        return description + "# TYPE \(name) \(kind.rawValue)\n" + samples.map { $0.line(of: name) }.joined()
    }
}

/// One number of a metric.
struct MetricSample: Sendable {
    var labels: LabelSet
    var value: String
    /// What a histogram adds to the metric's name.
    var suffix: String

    init(_ labels: LabelSet, _ value: String, suffix: String = "") {
        self.labels = labels
        self.value = value
        self.suffix = suffix
    }

    func line(of name: String) -> String {
        let braced = labels.text.isEmpty ? "" : "{\(labels.text)}"
        return "\(name)\(suffix)\(braced) \(value)\n"
    }
}

/// The labels of a sample, in the order of their names.
struct LabelSet: Sendable, Hashable {
    /// As it stands between the braces.
    let text: String

    /// Of two values with one name the last counts.
    init(_ dimensions: [(String, String)] = []) {
        let values = Dictionary(dimensions.map { (MetricText.name($0.0), $0.1) }) { _, last in last }
        text = values.sorted { $0.key < $1.key }.map { Self.pair($0.key, $0.value) }.joined(separator: ",")
    }

    private init(text: String) { self.text = text }

    /// With one more at the end, where a bucket's bound stands.
    func adding(_ name: String, _ value: String) -> LabelSet {
        let pair = Self.pair(name, value)
        return LabelSet(text: text.isEmpty ? pair : "\(text),\(pair)")
    }

    private static func pair(_ name: String, _ value: String) -> String {
        "\(name)=\"\(MetricText.escapedValue(value))\""
    }
}

/// How names, texts and numbers are written.
enum MetricText {
    /// A name of letters, digits and underscores, whatever it was before.
    static func name(_ text: String) -> String {
        let characters: [Character] = text.map { isNameCharacter($0) ? $0 : "_" }
        let isWhole = characters.first.map { !$0.isNumber } ?? false
        return String(isWhole ? characters : ["_"] + characters)
    }

    private static func isNameCharacter(_ character: Character) -> Bool {
        character == "_" || (character.isASCII && (character.isLetter || character.isNumber))
    }

    static func escapedHelp(_ text: String) -> String { escaped(text, quotes: false) }
    static func escapedValue(_ text: String) -> String { escaped(text, quotes: true) }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        // By scalars, because a carriage return and a line feed are one character.
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value) { return String(whole) }
        return String(value)
    }
}
