// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import NIOConcurrencyHelpers
import OutboundHTTP
import Testing

/// Ends that come from this side.
@Suite struct CancellationTests {
    @Test func cancelledTaskEndsItsTransferAtOnce() async throws {
        let transport = try makeTransport()
        let hasHungUp = NIOLockedValueBox(false)
        try await ByteServer.serve({ connection in
            _ = await connection.readRequest()
            try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
            await connection.hold()
            hasHungUp.withLockedValue { $0 = true }
        }) { server in
            let meter = TransferMeter()
            let request = OutboundRequest(url: server.url, limits: .test, meter: meter)
            let task = Task { try await failure(of: transport, request) }
            try await eventually("the transfer is under way") { meter.bytesReceived == 3 }
            task.cancel()
            let error = try await task.value
            #expect(error.code == .cancelled)
            #expect(error.bytesReceived == 3)
            try await eventually("the connection is closed") { hasHungUp.withLockedValue { $0 } }
        }
    }

    @Test func cancelledTaskStartsNoTransfer() async throws {
        let transport = try makeTransport()
        try await ByteServer.serve({ try await $0.answerAll(answer("ok")) }) { server in
            let (gate, open) = AsyncStream.makeStream(of: Void.self)
            let task = Task { () async throws -> TransferError.Code in
                // A cancelled task leaves the stream by itself.
                for await _ in gate {}
                return try await failure(of: transport, OutboundRequest(url: server.url, limits: .test)).code
            }
            task.cancel()
            let code = try await task.value
            #expect(code == .cancelled)
            #expect(server.connections == 0)
            open.finish()
        }
    }

    @Test func cancellingManyAtAnyMomentLeavesNobodyWaiting() async throws {
        let transport = try makeTransport()
        try await ByteServer.serve({ try await $0.answerAll(answer("ok")) }) { server in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<300 {
                    group.addTask {
                        let task = Task {
                            do throws(TransferError) {
                                return try await transport.send(OutboundRequest(url: server.url, limits: .test)).status
                            } catch {
                                return error.code == .cancelled ? 0 : -1
                            }
                        }
                        for _ in 0..<(number % 40) { await Task.yield() }
                        task.cancel()
                        let status = await task.value
                        #expect(status == 0 || status == 200)
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await transport.send(OutboundRequest(url: server.url, limits: .test)).status == 200)
        }
    }

    @Test func stopEndsRunningAndLaterTransfers() async throws {
        let transport = try makeTransport()
        try await ByteServer.serve({ await $0.hold() }) { server in
            let request = OutboundRequest(url: server.url, limits: .test)
            try await withThrowingTaskGroup(of: TransferError.Code.self) { group in
                for _ in 0..<20 {
                    group.addTask { try await failure(of: transport, request).code }
                }
                try await eventually("all are connected") { server.connections == 20 }
                await transport.stop()
                for try await code in group { #expect(code == .stopped) }
            }
            #expect(try await failure(of: transport, request).code == .stopped)
            await transport.stop()
        }
    }

    @Test func threadEndsWithItsTransport() async throws {
        let name = "curl-end-test"
        try await ByteServer.serve({ try await $0.answerAll(answer("ok")) }) { server in
            let transport = try makeTransport(.init(threadName: name))
            _ = try await transport.send(OutboundRequest(url: server.url, limits: .test))
            #expect(try threadNames().contains(name))
        }
        try await eventually("the thread has ended") { try !threadNames().contains(name) }
    }

    @Test func transportThatNeverSentEndsToo() async throws {
        let name = "curl-unused"
        do { _ = try makeTransport(.init(threadName: name)) }
        try await eventually("the thread has ended") { try !threadNames().contains(name) }
    }
}
