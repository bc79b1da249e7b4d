// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// `openssl s_server` with a certificate that it signed itself. It serves the folder's files, one connection at a time.
struct TLSServer {
    let port: Int
    let certificate: String

    static func serve<Value>(in folder: URL, while body: (TLSServer) async throws -> Value) async throws -> Value {
        let key = folder.appending(path: "key.pem").path
        let certificate = folder.appending(path: "certificate.pem").path
        let maker = try OpenSSL([
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        ])
        await maker.end()
        let server = try OpenSSL(
            ["s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key, "-WWW"], in: folder)
        guard let port = await server.acceptedPort() else { throw POSIXError(.ECONNREFUSED) }
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(TLSServer(port: port, certificate: certificate)))
        } catch {
            result = .failure(error)
        }
        server.terminate()
        await server.end()
        return try result.get()
    }
}

/// A run of the `openssl` command.
private struct OpenSSL {
    private let process = Process()
    private let output = Pipe()
    private let exit: AsyncStream<Void>

    init(_ arguments: [String], in folder: URL? = nil) throws {
        let (exit, continuation) = AsyncStream.makeStream(of: Void.self)
        self.exit = exit
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        process.currentDirectoryURL = folder
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        process.terminationHandler = { _ in continuation.finish() }
        try process.run()
    }

    /// The thread that started it may have SIGTERM blocked, and the child takes that over.
    func terminate() { kill(process.processIdentifier, SIGKILL) }

    func end() async {
        for await _ in exit {}
    }

    /// It says `ACCEPT 127.0.0.1:<port>` once it listens; nil when it ended before.
    func acceptedPort() async -> Int? {
        let (chunks, continuation) = AsyncStream.makeStream(of: Data.self)
        output.fileHandleForReading.readabilityHandler = { handle in
            let data = handle.availableData
            if data.isEmpty { continuation.finish() } else { continuation.yield(data) }
        }
        defer { output.fileHandleForReading.readabilityHandler = nil }
        var text = ""
        for await chunk in chunks {
            text += String(decoding: chunk, as: UTF8.self)
            for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            where line.hasPrefix("ACCEPT") {
                if let port = line.split(separator: ":").last.flatMap({ Int($0) }) { return port }
            }
        }
        return nil
    }
}
