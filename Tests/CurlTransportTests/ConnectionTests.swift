// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import Foundation
import OutboundHTTP
import Testing

/// Connections: kept, many at once, refused, and over TLS.
@Suite struct ConnectionTests {
    @Test func connectionIsUsedAgain() async throws {
        let transport = try makeTransport()
        try await ByteServer.serve({ try await $0.answerAll(answer("ok")) }) { server in
            for _ in 0..<20 {
                _ = try await transport.send(OutboundRequest(url: server.url, limits: .test))
            }
            #expect(server.connections == 1)
        }
    }

    @Test func twoHundredTransfersRunAtOnce() async throws {
        let transport = try makeTransport()
        try await MediaServer.serve { url in
            try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        let count = 10_000 + number
                        let response = try await transport.send(
                            OutboundRequest(url: "\(url)/bytes/\(count)", limits: .test)
                        )
                        #expect(response.body == patterned(count))
                        return 1
                    }
                }
                let done = try await group.reduce(0, +)
                #expect(done == 200)
            }
        }
    }

    @Test func closedPortIsAConnectError() async throws {
        let port = try await ByteServer.serve({ _ in }) { $0.port }
        let error = try await failure(
            of: makeTransport(),
            OutboundRequest(url: "http://127.0.0.1:\(port)/secret?token=1", limits: .test)
        )
        #expect(error.code == .connect)
        #expect(error.curlCode == 7)
        #expect(error.isOutcomeKnown)
        #expect(error.message.contains("127.0.0.1:\(port)"))
        #expect(!error.message.contains("secret"))
    }

    @Test func unknownHostIsAResolveError() async throws {
        let error = try await failure(
            of: makeTransport(),
            OutboundRequest(url: "http://nowhere.invalid/", limits: .test)
        )
        #expect(error.code == .resolve)
        #expect(error.isOutcomeKnown)
    }

    @Test(arguments: ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
    func loopbackIsRefusedUnderPublicOnly(_ host: String) async throws {
        let transport = try makeTransport()
        try await ByteServer.serve({ try await $0.answerAll(answer("ok")) }) { server in
            let error = try await failure(
                of: transport,
                OutboundRequest(url: "http://\(host):\(server.port)/", limits: .test, addressPolicy: .publicOnly)
            )
            #expect(error.code == .addressRefused)
            #expect(!error.isRetryable)
            #expect(server.connections == 0)
        }
    }

    @Test func keptConnectionIsNoWayAroundThePolicy() async throws {
        let transport = try makeTransport()
        try await ByteServer.serve({ try await $0.answerAll(answer("ok")) }) { server in
            _ = try await transport.send(OutboundRequest(url: server.url, limits: .test))
            let error = try await failure(
                of: transport,
                OutboundRequest(url: server.url, limits: .test, addressPolicy: .publicOnly)
            )
            #expect(error.code == .addressRefused)
            #expect(server.connections == 1)
            _ = try await transport.send(OutboundRequest(url: server.url, limits: .test))
        }
    }

    @Test func selfSignedServerIsRefusedUntilItsCertificateIsTrusted() async throws {
        try await withFolder { folder in
            try await TLSServer.serve(in: folder) { server in
                let request = OutboundRequest(url: "https://127.0.0.1:\(server.port)/certificate.pem", limits: .test)
                let error = try await failure(of: makeTransport(), request)
                #expect(error.code == .tls)
                #expect(error.curlCode == 60)
                #expect(error.isOutcomeKnown)
                #expect(!error.isRetryable)
                let trusting = try makeTransport(.init(extraAuthoritiesFile: server.certificate))
                #expect(try await trusting.send(request).status == 200)
            }
        }
    }

    @Test func unreadableAuthoritiesFileIsSaidAtOnce() throws {
        let error = #expect(throws: TransferError.self) {
            try makeTransport(.init(extraAuthoritiesFile: "/nonexistent.pem"))
        }
        #expect(error?.code == .tls)
    }
}
