// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import Foundation
import HTTPTypes
import OutboundHTTP
import Testing

/// Bodies that go to a file.
@Suite struct DownloadTests {
    @Test func bodyIsWrittenToANewFileOfTheOwnersAlone() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            let meter = TransferMeter()
            let response = try await MediaServer.serve { url in
                try await makeTransport().send(
                    OutboundRequest(
                        url: url + "/bytes/5000000",
                        sink: .file(FileSink(path: path) { _ in .write(offset: 0) }),
                        meter: meter
                    )
                )
            }
            #expect(response.bytesWritten == 5_000_000)
            #expect(response.body.isEmpty)
            #expect(meter.bytesReceived == 5_000_000)
            #expect(try contents(path) == patterned(5_000_000))
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
            #expect(mode?.intValue == 0o600)
        }
    }

    @Test func bodyGoesOnAtTheOffsetAndWhatStoodThereIsCut() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            try Data(repeating: 1, count: 1000).write(to: URL(filePath: path))
            let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial\r\nContent-Length: 4\r\n\r\nabcd"
            let response = try await reply(answer, FileSink(path: path) { .write(offset: $0.status == 206 ? 10 : 0) })
            #expect(response.bytesWritten == 4)
            #expect(try contents(path) == Array(repeating: 1, count: 10) + Array("abcd".utf8))
        }
    }

    @Test func collectedBodyLeavesTheFileAloneAndIsCut() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            let body = String(repeating: "e", count: 100_000)
            let sink = FileSink(path: path) { $0.status == 200 ? .write(offset: 0) : .collect }
            let response = try await reply(answer(body, status: "500 Broken"), sink)
            #expect(response.bytesWritten == nil)
            #expect(response.body.count == 65_536)
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test func emptyBodyMakesAnEmptyFile() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            let response = try await reply(answer(""), FileSink(path: path) { _ in .write(offset: 0) })
            #expect(response.bytesWritten == 0)
            #expect(try contents(path).isEmpty)
        }
    }

    @Test func fullDiskIsSaidSo() async throws {
        let sink = FileSink(path: "/dev/full") { _ in .write(offset: 0) }
        let error = try await error(answer(String(repeating: "x", count: 100_000)), sink)
        #expect(error.code == .diskFull)
        #expect(error.isRetryable)
        #expect(error.bytesReceived == 0)
        #expect(error.message.contains("No space left on device"))
    }

    @Test func missingFolderIsAFileError() async throws {
        let sink = FileSink(path: "/nonexistent/a.mp4") { _ in .write(offset: 0) }
        let error = try await error(answer("x"), sink)
        #expect(error.code == .file)
        #expect(!error.isRetryable)
    }

    @Test func offsetBeyondTheFileMakesNoHole() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            try Data(repeating: 1, count: 5).write(to: URL(filePath: path))
            let error = try await error(answer("x"), FileSink(path: path) { _ in .write(offset: 6) })
            #expect(error.code == .file)
            #expect(try contents(path).count == 5)
        }
    }

    @Test func fileCapHoldsWithAndWithoutAStatedLength() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            try Data(repeating: 1, count: 8).write(to: URL(filePath: path))
            let sink = FileSink(path: path, fileBytesMax: 10) { _ in .write(offset: 8) }
            #expect(try await error(answer("123"), sink).code == .bodyTooLarge)
            let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n0\r\n\r\n"
            #expect(try await error(chunked, sink).code == .bodyTooLarge)
            #expect(try contents(path).count == 8)
            #expect(try await reply(answer("12"), sink).bytesWritten == 2)
        }
    }

    @Test func truncatedDownloadTellsWhatReachedTheFile() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            let text = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"
            let error = try await error(text, FileSink(path: path) { _ in .write(offset: 0) })
            #expect(error.code == .bodyTruncated)
            #expect(error.bytesReceived == 10)
            #expect(try contents(path) == Array("0123456789".utf8))
        }
    }

    @Test func fileMayBeReadAsFarAsTheMeterTells() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            let bytes = patterned(8_000_000)
            let meter = TransferMeter()
            let transport = try makeTransport(.init(downloadBytesPerSecondMax: 16_000_000))
            try await MediaServer.serve { url in
                let sink = FileSink(path: path) { _ in .write(offset: 0) }
                let request = OutboundRequest(
                    url: url + "/bytes/8000000", sink: .file(sink), limits: .test, meter: meter)
                let task = Task { try await transport.send(request) }
                var seen = 0
                try await eventually("all has been seen") {
                    let count = Int(meter.bytesReceived)
                    #expect(count >= seen)
                    if count > seen {
                        let file = try FileHandle(forReadingFrom: URL(filePath: path))
                        try file.seek(toOffset: UInt64(seen))
                        let new = try file.read(upToCount: count - seen)
                        #expect(new.map(Array.init) == Array(bytes[seen..<count]))
                        seen = count
                    }
                    return seen == bytes.count
                }
                #expect(try await task.value.bytesWritten == 8_000_000)
            }
        }
    }

    /// Whoever goes on at the meter's count would otherwise take an error's text for the file's bytes.
    @Test func collectedBodyIsNotCounted() async throws {
        let meter = TransferMeter()
        let transport = try makeTransport()
        let sink = FileSink(path: "/nonexistent/a.mp4") { _ in .collect }
        let text = "HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n0123456789"
        let error = try await serve(text) {
            try await failure(
                of: transport, OutboundRequest(url: $0, sink: .file(sink), limits: .test, meter: meter))
        }
        #expect(error.code == .bodyTruncated)
        #expect(error.message.contains("stopped at 10 of 100 bytes"))
        #expect(error.bytesReceived == 0)
        #expect(meter.bytesReceived == 0)
    }

    private func contents(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(filePath: path)))
    }

    private func reply(_ text: String, _ sink: FileSink) async throws -> OutboundResponse {
        let transport = try makeTransport()
        return try await serve(text) {
            try await transport.send(OutboundRequest(url: $0, sink: .file(sink), limits: .test))
        }
    }

    private func error(_ text: String, _ sink: FileSink) async throws -> TransferError {
        let transport = try makeTransport()
        return try await serve(text) {
            try await failure(of: transport, OutboundRequest(url: $0, sink: .file(sink), limits: .test))
        }
    }

    private func serve<Value: Sendable>(
        _ text: String,
        while body: @Sendable (String) async throws -> Value
    ) async throws -> Value {
        try await ByteServer.serve({ connection in
            _ = await connection.readRequest()
            try await connection.send(text)
        }) { try await body($0.url) }
    }
}
