// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers
import OutboundHTTP
import Testing

/// Bodies that come from a file, and those that have to be sent again.
@Suite struct UploadTests {
    @Test func fileRangeArrivesByteForByte() async throws {
        try await withFolder { folder in
            let bytes = patterned(3_000_000)
            let path = folder.appending(path: "a.mp4").path
            try Data(bytes).write(to: URL(filePath: path))
            let meter = TransferMeter()
            let body = OutboundBody.file(path: path, offset: 123_457, length: 2_345_678)
            let response = try await MediaServer.serve { url in
                try await makeTransport().send(
                    OutboundRequest(method: .put, url: url + "/hash", body: body, limits: .test, meter: meter)
                )
            }
            #expect(String(decoding: response.body, as: UTF8.self) == sha256(Array(bytes[123_457..<2_469_135])))
            #expect(meter.bytesSent == 2_345_678)
        }
    }

    @Test func fileThatIsTooShortIsNotSent() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            try Data(repeating: 1, count: 100).write(to: URL(filePath: path))
            for (offset, length) in [(0, 101), (99, 2), (101, 0), (UInt64.max, UInt64.max)] as [(UInt64, UInt64)] {
                let body = OutboundBody.file(path: path, offset: offset, length: length)
                let error = try await failure(
                    of: makeTransport(),
                    OutboundRequest(method: .put, url: "http://127.0.0.1:1", body: body)
                )
                #expect(error.code == .file)
            }
        }
    }

    @Test func missingFileIsAFileError() async throws {
        let body = OutboundBody.file(path: "/nonexistent/a.mp4", offset: 0, length: 1)
        let error = try await failure(
            of: makeTransport(),
            OutboundRequest(method: .put, url: "http://127.0.0.1:1", body: body)
        )
        #expect(error.code == .file)
        #expect(error.message.contains("No such file"))
    }

    @Test func fileThatEndsWhileItIsReadIsAFileError() async throws {
        // It has no size to check beforehand, and ends at once.
        let body = OutboundBody.file(path: "/dev/null", offset: 0, length: 10)
        try await ByteServer.serve({ await $0.hold() }) { server in
            let error = try await failure(
                of: makeTransport(),
                OutboundRequest(method: .put, url: server.url, body: body, limits: .test)
            )
            #expect(error.code == .file)
        }
    }

    /// A server may close a kept connection at the very moment at which it is used again.
    @Test func bodyIsSentAgainWhenTheKeptConnectionWasDead() async throws {
        let bytes = patterned(300_000)
        let bodies = NIOLockedValueBox<[[UInt8]]>([])
        let transport = try makeTransport()
        try await ByteServer.serve({ connection in
            guard await connection.readRequest() != nil else { return }
            try await connection.send(answer("first"))
            guard let second = await connection.readRequest() else { return }
            bodies.withLockedValue { $0.append(second.body) }
        }) { server in
            _ = try await transport.send(OutboundRequest(url: server.url, limits: .test))
            let meter = TransferMeter()
            let response = try await transport.send(
                OutboundRequest(method: .put, url: server.url, body: .bytes(bytes), limits: .test, meter: meter)
            )
            #expect(response.body == Array("first".utf8))
            #expect(bodies.withLockedValue { $0 } == [bytes])
            #expect(server.connections == 2)
            #expect(meter.bytesSent == UInt64(bytes.count))
        }
    }

    @Test func earlyRefusalIsAnAnswer() async throws {
        let transport = try makeTransport()
        try await ByteServer.serve({ connection in
            try await connection.send(answer("no", status: "403 Forbidden", extra: "Connection: close\r\n"))
            await connection.hold()
        }) { server in
            let response = try await transport.send(
                OutboundRequest(
                    method: .put,
                    url: server.url,
                    body: .bytes(Array(repeating: 1, count: 20_000_000)),
                    limits: .test
                )
            )
            #expect(response.status == 403)
            #expect(response.body == Array("no".utf8))
        }
    }

    @Test func resetWhileSendingTellsHowFarItCame() async throws {
        let transport = try makeTransport()
        let meter = TransferMeter()
        try await ByteServer.serve({ connection in
            try await eventually("something was sent") { meter.bytesSent > 0 }
            try await connection.reset()
        }) { server in
            let error = try await failure(
                of: transport,
                OutboundRequest(
                    method: .put,
                    url: server.url,
                    body: .bytes(Array(repeating: 1, count: 50_000_000)),
                    limits: .test,
                    meter: meter
                )
            )
            #expect(error.code == .reset)
            #expect(error.bytesSent > 0)
            #expect(error.message.contains("of 50,000,000 bytes"))
        }
    }
}
