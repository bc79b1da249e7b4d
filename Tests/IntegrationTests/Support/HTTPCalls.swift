// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CurlTransport
import Foundation
import HTTPTypes
import OutboundHTTP

/// An answer, as JSON where it is any, and its status.
struct Answer: Sendable {
    var status: Int
    var json: JSONValue
    var headers: HTTPFields = [:]
    var text = ""

    subscript(name: String) -> JSONValue? { json.objectValue?[name] }
}

extension CurlTransport {
    func call(
        _ method: HTTPRequest.Method = .get, _ url: String, body: [UInt8]? = nil, headers: HTTPFields = [:]
    ) async throws -> Answer {
        let response = try await send(
            OutboundRequest(
                method: method, url: url, headers: headers, body: body.map(OutboundBody.bytes) ?? .none,
                sink: .memory(bytesMax: 16 << 20)))
        return Answer(
            status: response.status, json: (try? JSONValue(parsing: response.body)) ?? .null,
            headers: response.head.headers, text: String(decoding: response.body, as: UTF8.self))
    }
}

extension JSONValue {
    init(parsing bytes: some Sequence<UInt8>) throws {
        self = try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
    }

    init(parsing text: some StringProtocol) throws { try self.init(parsing: text.utf8) }

    var bytes: [UInt8] {
        get throws { Array(try JSONEncoder().encode(self)) }
    }

    var arrayValue: [JSONValue] { if case .array(let values) = self { values } else { [] } }

    subscript(name: String) -> JSONValue? { objectValue?[name] }
}
