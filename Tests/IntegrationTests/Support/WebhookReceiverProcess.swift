// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

/// A receiver of outgoing webhooks that others' code verifies: `Receivers/receiver.py`.
struct WebhookReceiverProcess: Sendable {
    static let secret = "whsec_\(Data((0..<32).map { UInt8($0) }).base64EncodedString())"

    /// A Python that has `standardwebhooks`; `deploy/test.sh` makes one.
    static let python = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_PYTHON"]

    /// What arrived.
    struct Request: Sendable {
        var path: String
        var id: String
        /// What is wrong with its signature by Standard Webhooks.
        var fault: String?
        var signature: String?
        var contentType: String?
        var body: [UInt8]
        /// What it was answered with.
        var status: Int64

        init(_ line: JSONValue) throws {
            path = try #require(line["path"]?.stringValue)
            id = try #require(line["id"]?.stringValue)
            fault = line["fault"]?.stringValue
            signature = line["signature"]?.stringValue
            contentType = line["content_type"]?.stringValue
            body = Array(try #require(line["body"]?.stringValue.flatMap { Data(base64Encoded: $0) }))
            status = try #require(line["status"]?.integerValue)
        }

        /// Of a message that tells of a change of status.
        var data: JSONValue? { (try? JSONValue(parsing: body))?["data"] }
        var uid: String? { data?["uid"]?.stringValue }
        var seq: Int64? { data?["seq"]?.integerValue }
    }

    let program: RunningProgram
    let port: Int
    private let file: String

    func url(_ path: String) -> String { "http://127.0.0.1:\(port)/\(path)" }

    /// Since the first start on the same file, in the order of arrival.
    func requests() throws -> [Request] {
        let text = String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
        // The last line may be half written.
        return try text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            .map { try Request(try JSONValue(parsing: $0)) }
    }

    fileprivate init(_ world: World, port: Int) async throws {
        let file = world.path("received")
        let script = Project.root.appending(path: "Tests/IntegrationTests/Receivers/receiver.py").path()
        let python = try #require(Self.python)
        let program = try world.start([script, "\(port)", file, Self.secret], of: python)
        try await until("the receiver") {
            try #require(program.isRunning, "the receiver ended: \(program.error)")
            return program.output.contains("listening")
        }
        (self.program, self.port, self.file) = (program, port, file)
    }
}

extension World {
    func webhookReceiver(port: Int? = nil) async throws -> WebhookReceiverProcess {
        let free = try await freePort()
        return try await WebhookReceiverProcess(self, port: port ?? free)
    }

    /// Settings under which a bridge sends to loopback.
    func telling(_ settings: [String: String]) -> [String: String] {
        [
            "CLIPBRIDGE_NOTIFY_SECRET": WebhookReceiverProcess.secret, "CLIPBRIDGE_NOTIFY_HOSTS": "127.0.0.1",
        ].merging(settings) { _, given in given }
    }
}
