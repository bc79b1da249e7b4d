// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CurlTransport
import Foundation
import HTTPTypes
import ObjectStorage
import OutboundHTTP
import Testing

/// `clipbridge sandbox` and an application's way to talk to it.
struct SandboxProcess: Sendable {
    let program: RunningProgram
    let origin: String
    let port: Int
    let secret: String
    private let settings: [String: String]
    private let world: World

    init(program: RunningProgram, settings: [String: String], world: World) throws {
        self.program = program
        self.settings = settings
        self.world = world
        origin = try #require(settings["R2_ENDPOINT"])
        port = try #require(URLComponents(string: origin)?.port)
        secret = try #require(settings["CLOUDFLARE_WEBHOOK_SECRET"])
    }

    /// The printed settings, as a file for `--config`.
    var settingsFile: String { program.outputFile }

    func setting(_ name: String) throws -> String { try #require(settings[name], "the sandbox prints no \(name)") }

    /// Below the account's `stream`.
    func api(_ method: HTTPRequest.Method, _ path: String, _ body: JSONValue) async throws -> Answer {
        let base = "\(try setting("CLOUDFLARE_API_BASE"))/accounts/\(try setting("CLOUDFLARE_ACCOUNT_ID"))/stream"
        let token = try setting("CLOUDFLARE_API_TOKEN")
        let answer = try await world.transport.call(
            method, base + path, body: try body.bytes,
            headers: [.authorization: "Bearer \(token)", .contentType: "application/json"])
        try #require((200..<300).contains(answer.status), "\(path): \(answer)")
        return answer
    }

    /// Uploads by URL; the new video's uid.
    func copy(_ url: String, _ members: [String: JSONValue] = [:]) async throws -> String {
        let answer = try await api(.post, "/copy", .object(members.merging(["url": .string(url)]) { $1 }))
        return try #require(answer["result"]?["uid"]?.stringValue)
    }

    func subscribe(_ bridge: BridgeProcess) async throws {
        _ = try await api(.put, "/webhook", ["notificationUrl": .string(bridge.webhookURL)])
    }

    struct Downloads: Sendable, Equatable {
        var full: Int64
        var ranges: Int64
        var bytes: Int64
    }

    func downloads(of uid: String) async throws -> Downloads {
        let answer = try await world.transport.call(.get, "\(origin)/media/\(uid)/stats")
        return Downloads(
            full: try #require(answer["full_requests"]?.integerValue),
            ranges: try #require(answer["range_requests"]?.integerValue),
            bytes: try #require(answer["bytes"]?.integerValue))
    }

    /// How many parts of an object that is being put are in the bucket.
    func partsOfUpload(of uid: String) async throws -> Int {
        let storage = S3Client(
            configuration: S3Configuration(
                endpoint: origin, bucket: try setting("R2_BUCKET_NAME"),
                credentials: StorageCredentials(
                    accessKeyID: try setting("R2_ACCESS_KEY_ID"),
                    secretAccessKey: try setting("R2_SECRET_ACCESS_KEY"))),
            transport: world.transport)
        let key = "videos/\(uid).mp4"
        guard let upload = try await storage.listMultipartUploads(prefix: key).first else { return 0 }
        return try await storage.listParts(key, uploadID: upload.uploadID).count
    }

    /// The file that was uploaded.
    func source(of uid: String) async throws -> FileDigest {
        try await FileDigest.ofFile(world.path("sandbox/sources/\(uid).mp4"))
    }
}

extension World {
    /// A sandbox whose videos take about a second to be encoded and half as long for their MP4.
    func sandbox(_ arguments: [String] = [], speed: Int = 20) async throws -> SandboxProcess {
        let program = try start(
            ["sandbox", "--port", "0", "--data", path("sandbox"), "--speed", "\(speed)"] + arguments)
        let lines = try await until("the sandbox's settings") { () -> [Substring]? in
            try #require(program.isRunning, "the sandbox ended: \(program.error)")
            let lines = program.output.split(separator: "\n")
            // The last one.
            return lines.contains { $0.hasPrefix("CLIPBRIDGE_DOWNLOAD_HOSTS=") } ? lines : nil
        }
        let pairs = lines.map { line in
            let sides = line.split(separator: "=", maxSplits: 1)
            return (String(sides[0]), sides.count > 1 ? String(sides[1]) : "")
        }
        return try SandboxProcess(
            program: program, settings: Dictionary(pairs) { _, last in last }, world: self)
    }

    /// The bytes behind a URL.
    func download(_ url: String) async throws -> FileDigest {
        let copy = path("download-\(UUID().uuidString)")
        let sink = FileSink(path: copy) { $0.status == 200 ? .write(offset: 0) : .collect }
        let response = try await transport.send(OutboundRequest(url: url, sink: .file(sink), limits: .file))
        try #require(response.status == 200, "\(url): \(response.status)")
        defer { try? FileManager.default.removeItem(atPath: copy) }
        return try await FileDigest.ofFile(copy)
    }
}
