// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import Foundation
import HTTPTypes
import OutboundHTTP
import Testing

/// The limits on all file transfers together, measured against servers that are much faster.
@Suite(.serialized) struct BandwidthTests {
    private static let cap: UInt64 = 8_000_000

    /// Bytes of each transfer: 2 s of the cap together, and those that end early leave their part to the others.
    enum Load: CaseIterable {
        case one, fourAtOnce

        var lengths: [Int] {
            switch self {
            case .one: [16_000_000]
            case .fourAtOnce: [2_000_000, 3_000_000, 4_000_000, 7_000_000]
            }
        }
    }

    @Test(arguments: Load.allCases)
    func downloadsKeepToTheCapTogether(_ load: Load) async throws {
        let transport = try makeTransport(.init(downloadBytesPerSecondMax: Self.cap))
        let measured = try await withFolder { folder in
            try await Self.serve { url in
                try await measure(load.lengths) { number, length, meter in
                    let path = folder.appending(path: "\(number).mp4").path
                    let response = try await transport.send(download(url, length, to: path, meter))
                    #expect(response.bytesWritten == UInt64(length))
                }
            }
        }
        measured.expectSteady(cap: Double(Self.cap), transfers: load.lengths.count)
    }

    @Test func downloadOverTLSKeepsToTheCap() async throws {
        let measured = try await withFolder { folder in
            try Data(count: 16_000_000).write(to: folder.appending(path: "16000000"))
            return try await TLSServer.serve(in: folder) { server in
                let transport = try makeTransport(
                    .init(extraAuthoritiesFile: server.certificate, downloadBytesPerSecondMax: Self.cap)
                )
                return try await measure([16_000_000]) { _, length, meter in
                    let path = folder.appending(path: "a.mp4").path
                    let url = "https://127.0.0.1:\(server.port)"
                    let response = try await transport.send(download(url, length, to: path, meter))
                    #expect(response.bytesWritten == UInt64(length))
                }
            }
        }
        measured.expectSteady(cap: Double(Self.cap), transfers: 1)
    }

    @Test(arguments: Load.allCases)
    func uploadsKeepToTheCapTogether(_ load: Load) async throws {
        let transport = try makeTransport(.init(uploadBytesPerSecondMax: Self.cap))
        let measured = try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            try Data(count: load.lengths.max()!).write(to: URL(filePath: path))
            return try await Self.serve { url in
                try await measure(load.lengths) { _, length, meter in
                    let body = OutboundBody.file(path: path, offset: 0, length: UInt64(length))
                    let response = try await transport.send(
                        OutboundRequest(method: .put, url: url, body: body, limits: .test, meter: meter)
                    )
                    #expect(response.body == Array("\(length)".utf8))
                }
            }
        }
        measured.expectSteady(cap: Double(Self.cap), transfers: load.lengths.count)
    }

    @Test func smallCapIsKeptToWithoutTheTransferCountingAsSlow() async throws {
        let cap: UInt64 = 50_000
        let transport = try makeTransport(.init(downloadBytesPerSecondMax: cap, uploadBytesPerSecondMax: cap))
        var limits = TransferLimits.test
        limits.lowSpeed = .seconds(1)
        limits.lowSpeedBytesPerSecond = 1_000_000
        let slow = limits
        try await withFolder { folder in
            let path = folder.appending(path: "a.mp4").path
            try Data(count: 125_000).write(to: URL(filePath: path))
            let measured = try await Self.serve { url in
                try await measure([125_000]) { _, length, meter in
                    let body = OutboundBody.file(path: path, offset: 0, length: UInt64(length))
                    _ = try await transport.send(
                        OutboundRequest(method: .put, url: url, body: body, limits: slow, meter: meter)
                    )
                }
            }
            measured.expectSteady(cap: Double(cap), transfers: 1)
        }
    }

    @Test func stalledTransferLeavesTheBandwidthToOthers() async throws {
        let transport = try makeTransport(.init(downloadBytesPerSecondMax: Self.cap))
        try await withFolder { folder in
            try await ByteServer.serve({ connection in
                _ = await connection.readRequest()
                try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
                await connection.hold()
            }) { stalled in
                let meter = TransferMeter()
                let request = download(stalled.url, 1000, to: folder.appending(path: "stalled").path, meter)
                let task = Task { try? await transport.send(request) }
                try await eventually("it is under way") { meter.bytesReceived == 3 }
                let measured = try await Self.serve { url in
                    try await measure([8_000_000]) { _, length, meter in
                        let path = folder.appending(path: "fast").path
                        _ = try await transport.send(download(url, length, to: path, meter))
                    }
                }
                measured.expectSteady(cap: Double(Self.cap), transfers: 2)
                task.cancel()
                _ = await task.value
            }
        }
    }

    @Test func callsAreNotLimited() async throws {
        let cap: UInt64 = 100_000
        let transport = try makeTransport(.init(downloadBytesPerSecondMax: cap, uploadBytesPerSecondMax: cap))
        try await withFolder { folder in
            try await Self.serve { url in
                let meter = TransferMeter()
                let request = download(url, 100_000_000, to: folder.appending(path: "a").path, meter)
                let task = Task { try? await transport.send(request) }
                try await eventually("it is under way") { meter.bytesReceived > 10_000 }
                let started = ContinuousClock.now
                for _ in 0..<5 {
                    let call = OutboundRequest(
                        method: .post, url: url + "/1000000", body: .bytes(patterned(1_000_000)), limits: .test)
                    #expect(try await transport.send(call).isSuccess)
                    #expect(try await transport.send(OutboundRequest(url: url + "/1000000")).body.count == 1_000_000)
                }
                // Either direction alone would take 50 s at the cap.
                #expect(ContinuousClock.now - started < .seconds(20))
                #expect(meter.bytesReceived < 3_000_000)
                task.cancel()
                _ = await task.value
            }
        }
    }

    /// `GET /<n>` answers n bytes as fast as they are taken; anything with a body is answered with its length.
    private static func serve<Value: Sendable>(
        while body: @Sendable (String) async throws -> Value
    ) async throws -> Value {
        let block = [UInt8](repeating: 7, count: 256 * 1024)
        return try await ByteServer.serve({ connection in
            while let request = await connection.readRequest() {
                guard request.head.hasPrefix("GET") else {
                    try await connection.send(answer("\(request.body.count)"))
                    continue
                }
                var rest = Int(request.target.dropFirst()) ?? 0
                try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(rest)\r\n\r\n")
                while rest > 0 {
                    let count = min(rest, block.count)
                    try await connection.send(count == block.count ? block : Array(block[..<count]))
                    rest -= count
                }
            }
        }) { try await body($0.url) }
    }

    private func download(_ url: String, _ length: Int, to path: String, _ meter: TransferMeter) -> OutboundRequest {
        let sink = FileSink(path: path) { _ in .write(offset: 0) }
        return OutboundRequest(url: "\(url)/\(length)", sink: .file(sink), limits: .test, meter: meter)
    }

    /// Runs a transfer for each length and notes how far all together are every few milliseconds.
    private func measure(
        _ lengths: [Int],
        _ transfer: @escaping @Sendable (_ number: Int, _ length: Int, TransferMeter) async throws -> Void
    ) async throws -> Measurement {
        let meters = lengths.map { _ in TransferMeter() }
        var measurement = Measurement()
        measurement.note(meters)
        try await withThrowingTaskGroup(of: Int?.self) { group in
            for (number, length) in lengths.enumerated() {
                group.addTask {
                    try await transfer(number, length, meters[number])
                    return number
                }
            }
            group.addTask { try await Self.tick() }
            var left = lengths.count
            while left > 0, let ended = try await group.next() {
                measurement.note(meters)
                if ended != nil { left -= 1 } else { group.addTask { try await Self.tick() } }
            }
            group.cancelAll()
        }
        return measurement
    }

    private static func tick() async throws -> Int? {
        try? await ContinuousClock().sleep(for: .milliseconds(5))
        return nil
    }
}

/// How many bytes had been moved when. The machine may be busy, so each count has a span of time in which it was true.
private struct Measurement: Sendable {
    private struct Sample {
        let before: ContinuousClock.Instant
        let bytes: Double
        let after: ContinuousClock.Instant
    }

    private var samples: [Sample] = []

    mutating func note(_ meters: [TransferMeter]) {
        let before = ContinuousClock.now
        let bytes = meters.reduce(0) { $0 + $1.bytesReceived + $1.bytesSent }
        samples.append(Sample(before: before, bytes: Double(bytes), after: .now))
    }

    /// Near the cap on the whole, never above it by more than a burst, never silent for a second.
    func expectSteady(cap: Double, transfers: Int, sourceLocation: SourceLocation = #_sourceLocation) {
        let first = samples[0]
        let last = samples[samples.count - 1]
        let seconds = (last.after - first.before) / .seconds(1)
        let rate = last.bytes / seconds
        let share = "\(rate) of \(cap), in \(seconds) s with \(secondsRunning) s on a processor" as Comment
        #expect(last.bytes > cap * 0.85 * secondsRunning, share, sourceLocation: sourceLocation)
        #expect(rate < cap * 1.15, share, sourceLocation: sourceLocation)
        let excess = mostAbove(cap)
        // What an idle time leaves, and from each transfer a go through the open gate and one through the shut one.
        let burst = cap * 0.1 + 2 * Double(transfers) * 101 * max(cap / 3200, 1024)
        #expect(excess <= burst, "\(excess) more than the cap at once", sourceLocation: sourceLocation)
        #expect(longestSilence < .seconds(1), "silent for \(longestSilence)", sourceLocation: sourceLocation)
    }

    /// The most by which any span of time exceeds what it allows.
    private func mostAbove(_ cap: Double) -> Double {
        var least = Double.infinity
        var most = 0.0
        let start = samples[0].before
        for sample in samples {
            least = min(least, sample.bytes - cap * ((sample.before - start) / .seconds(1)))
            most = max(most, sample.bytes - cap * ((sample.after - start) / .seconds(1)) - least)
        }
        return most
    }

    private var secondsRunning: Double {
        zip(samples, samples.dropFirst()).reduce(0) { $0 + Self.secondsRunning($1.0, $1.1) }
    }

    private var longestSilence: Duration {
        var longest = 0.0
        var silence = 0.0
        for (sample, next) in zip(samples, samples.dropFirst()) {
            silence = next.bytes > sample.bytes ? 0 : silence + Self.secondsRunning(sample, next)
            longest = max(longest, silence)
        }
        return .seconds(longest)
    }

    /// The machine and the other tests may leave server and client without a processor. The samples of 5 ms then come
    /// late too, and what is late by much is not the transport's doing.
    private static func secondsRunning(_ sample: Sample, _ next: Sample) -> Double {
        min(0.05, (next.before - sample.before) / .seconds(1))
    }
}
