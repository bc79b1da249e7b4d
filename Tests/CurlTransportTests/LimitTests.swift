// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import OutboundHTTP
import Testing

/// Each time limit ends a transfer, and the error says which it was.
@Suite struct LimitTests {
    @Test func handshakeThatNeverEndsIsAConnectTimeout() async throws {
        var limits = TransferLimits.test
        limits.connect = .milliseconds(300)
        let error = try await stalled(scheme: "https", limits) { await $0.hold() }
        #expect(error.code == .connectTimeout)
        #expect(error.isOutcomeKnown)
    }

    @Test func silenceInTheMiddleIsLowSpeed() async throws {
        var limits = TransferLimits.test
        // The limit counts from the request on: on a busy machine the server has to get its turn before it is up.
        limits.lowSpeed = .seconds(6)
        limits.lowSpeedBytesPerSecond = 1000
        limits.total = .seconds(60)
        let error = try await stalled(limits) { connection in
            _ = await connection.readRequest()
            try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
            await connection.hold()
        }
        #expect(error.code == .lowSpeed)
        #expect(error.curlCode == 28)
        #expect(error.bytesReceived == 3)
    }

    @Test func answerThatNeverComesIsATimeout() async throws {
        var limits = TransferLimits.test
        limits.total = .milliseconds(400)
        let error = try await stalled(limits) { await $0.hold() }
        #expect(error.code == .timeout)
        #expect(!error.isOutcomeKnown)
        #expect(error.message.contains("0.4 seconds"))
    }

    private func stalled(
        scheme: String = "http",
        _ limits: TransferLimits,
        _ script: @escaping ByteServer.Script
    ) async throws -> TransferError {
        let transport = try makeTransport()
        return try await ByteServer.serve(script) { server in
            try await failure(
                of: transport,
                OutboundRequest(url: "\(scheme)://127.0.0.1:\(server.port)/", limits: limits)
            )
        }
    }
}
