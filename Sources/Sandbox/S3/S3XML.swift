// clipbridge
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HTTPTypes
import XMLCoder

/// An element of an answer.
struct S3Element: Sendable {
    enum Content: Sendable {
        case text(String)
        case children([S3Element])
    }

    var name: String
    var content: Content

    init(_ name: String, _ text: String) {
        self.name = name
        content = .text(text)
    }

    init(_ name: String, _ children: [S3Element]) {
        self.name = name
        content = .children(children)
    }

    /// With the namespace that S3's answers have, which its errors lack.
    func document(withNamespace: Bool = true) -> String {
        let attributes = withNamespace ? " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"" : ""
        return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + text(attributes: attributes)
    }

    private func text(attributes: String = "") -> String {
        let inner =
            switch content {
            case .text(let text): Self.escaped(text)
            case .children(let children): children.map { $0.text() }.joined()
            }
        return "<\(name)\(attributes)>\(inner)</\(name)>"
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "\r", "\n", "\t": escaped += "&#\(scalar.value);"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}

extension SandboxResponse {
    static func xml(_ element: S3Element, status: HTTPResponse.Status = .ok) -> SandboxResponse {
        SandboxResponse(status: status, contentType: "application/xml", text: element.document())
    }

    static func s3(_ error: S3Error) -> SandboxResponse {
        guard error.status != 304 else { return SandboxResponse(status: .notModified) }
        let element = S3Element("Error", [S3Element("Code", error.code), S3Element("Message", error.message)])
        var response = SandboxResponse(
            status: HTTPResponse.Status(code: error.status), contentType: "application/xml",
            text: element.document(withNamespace: false))
        if let size = error.objectSize { response.headers[.contentRange] = "bytes */\(size)" }
        return response
    }
}

/// What clients send as XML.
enum S3Body {
    struct Completion: Decodable {
        struct Part: Decodable {
            var number: Int
            var etag: String

            enum CodingKeys: String, CodingKey { case number = "PartNumber", etag = "ETag" }
        }

        var parts: [Part]

        enum CodingKeys: String, CodingKey { case parts = "Part" }
    }

    struct Deletion: Decodable {
        struct Object: Decodable {
            var key: String

            enum CodingKeys: String, CodingKey { case key = "Key" }
        }

        var objects: [Object]
        var isQuiet: Bool?

        enum CodingKeys: String, CodingKey { case objects = "Object", isQuiet = "Quiet" }
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws(S3Error) -> Value {
        // Blanks at the ends of a key belong to it.
        let decoder = XMLDecoder(trimValueWhitespaces: false, removeWhitespaceElements: true)
        do {
            return try decoder.decode(type, from: Data(bytes))
        } catch {
            throw .malformedXML
        }
    }
}
