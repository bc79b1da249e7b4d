// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Mustache

/// The pages' templates, which are part of the program.
struct DashboardTemplates: Sendable {
    static let shared = DashboardTemplates()

    private let library: MustacheLibrary

    private init() {
        var library = MustacheLibrary()
        for asset in DashboardAsset.templates {
            // The library's own escape goes by characters, and a quote with a combining mark is another character than
            // a quote. So it is told that everything is text already, and what goes in is escaped here.
            let text = "{{% CONTENT_TYPE:TEXT}}" + String(decoding: asset.bytes, as: UTF8.self)
            do {
                try library.register(text, named: asset.name)
            } catch {
                preconditionFailure("the template \"\(asset.name)\" is none: \(error)")
            }
        }
        self.library = library
    }

    func render(_ view: [String: JSONValue], with template: String) -> String {
        guard let page = library.render(view.mapValues(Self.escaped), withTemplate: template) else {
            preconditionFailure("there is no template \"\(template)\"")
        }
        return page
    }

    /// As Mustache takes it. Null is false, so that what a part of a page lacks is not looked for in the whole.
    private static func escaped(_ value: JSONValue) -> Any {
        switch value {
        case .null: false
        case .bool(let value): value
        case .integer(let value): value
        case .double(let value): value
        case .string(let text): escaped(text)
        case .array(let values): values.map(escaped)
        case .object(let members): members.mapValues(escaped)
        }
    }

    /// Safe as text and in quoted attributes.
    static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            // HTML knows no zero byte.
            case "\0": escaped += "\u{FFFD}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
