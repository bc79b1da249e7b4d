// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import CurlTransport
import Foundation
import HTTPTypes
import Logging
import OutboundHTTP

/// Which bridge a command talks to.
struct ServerOptions: ParsableArguments {
    @Option(help: "URL of the bridge (default: from the settings).")
    var server: String?
    @Option(name: .customLong("config"), help: "File of NAME=value lines; the environment goes before it.")
    var configFile: String?
    @Flag(help: "Print the API's own JSON.")
    var json = false

    func validate() throws {
        guard let server, Settings.url(server) == nil else { return }
        throw ValidationError("--server is \"\(server)\"; accepted is an http or https URL")
    }

    func settings() throws -> Settings {
        try Settings(RawSettings(flags: [:], configFile: configFile))
    }

    func client() throws -> OperatorClient { try client(by: settings()) }

    func client(by settings: Settings) throws -> OperatorClient {
        try OperatorClient(baseURL: server ?? settings.serverURL, token: settings.adminToken)
    }
}

/// Speaks to a running bridge's operator API.
struct OperatorClient: Sendable {
    private let transport: CurlTransport
    private let baseURL: String
    private let token: String?

    init(baseURL: String, token: String?) throws {
        self.baseURL = baseURL.hasSuffix("/") ? String(baseURL.dropLast()) : baseURL
        self.token = token
        self.transport = try CurlTransport(logger: Logger(label: "clipbridge") { _ in SwiftLogNoOpLogHandler() })
    }

    func get(_ path: String) async throws -> JSONValue { try await send(.get, path, body: .none).json }

    func post(_ path: String, _ body: JSONValue = [:]) async throws -> JSONValue {
        try await send(.post, path, body: Self.bytes(body)).json
    }

    /// - Returns: whether the bridge did not know the clip.
    func register(_ body: JSONValue) async throws -> Bool {
        try await send(.post, "/api/clips", body: Self.bytes(body)).status == 201
    }

    private static func bytes(_ body: JSONValue) -> OutboundBody { .bytes(Array(JSONText.line(body).utf8)) }

    private func send(
        _ method: HTTPRequest.Method, _ path: String, body: OutboundBody
    ) async throws -> (status: Int, json: JSONValue) {
        var request = OutboundRequest(
            method: method, url: baseURL + path, body: body, sink: .memory(bytesMax: 64 << 20))
        request.headers[.accept] = "application/json"
        if case .bytes = body { request.headers[.contentType] = "application/json" }
        if let token { request.headers[.authorization] = "Bearer \(token)" }
        let response: OutboundResponse
        do throws(TransferError) {
            response = try await transport.send(request)
        } catch {
            throw CommandFailure(.unavailable, "the bridge at \(baseURL) can not be reached: \(error.message)")
        }
        let answer = JSONValue(json: response.body)
        guard response.isSuccess, let answer else {
            throw Self.failure(response.status, answer)
        }
        return (response.status, answer)
    }

    private static func failure(_ status: Int, _ answer: JSONValue?) -> CommandFailure {
        let text = answer?.objectValue?["message"]?.stringValue ?? "the server answered \(status) without a reason"
        switch status {
        case 401, 403: return CommandFailure(.refused, "\(text); set CLIPBRIDGE_ADMIN_TOKEN to the bridge's")
        case 502, 503, 504: return CommandFailure(.unavailable, text)
        default: return CommandFailure(.failed, text)
        }
    }
}

/// Encodes one segment of a path.
func pathSegment(_ text: String) -> String {
    text.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(.init(charactersIn: "-._~"))) ?? ""
}
