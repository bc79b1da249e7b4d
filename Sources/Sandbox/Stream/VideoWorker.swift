// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials
import HTTPTypes
import Logging
import OutboundHTTP

/// Does what a video needs beside being looked at: its file is got, and its end is told to the webhook.
final class VideoWorker: Sendable {
    private let library: StreamLibrary
    private let folder: DataFolder
    private let transport: any HTTPTransport
    private let sender: WebhookSender
    private let site: SandboxSite
    private let clock: any WallClock
    private let logger: Logger
    private let queue: AsyncStream<String>
    private let enter: AsyncStream<String>.Continuation

    private static let redirectsMax = 3

    init(
        library: StreamLibrary, folder: DataFolder, site: SandboxSite, transport: any HTTPTransport,
        faults: FaultPlan, clock: any WallClock, logger: Logger
    ) {
        self.library = library
        self.folder = folder
        self.transport = transport
        self.site = site
        self.clock = clock
        self.logger = logger
        self.sender = WebhookSender(
            subscriptions: library.subscriptions, transport: transport, faults: faults,
            backoff: library.stages.webhookBackoff, clock: clock, logger: logger)
        (queue, enter) = AsyncStream.makeStream()
    }

    /// Takes care of a video that has just been made, or whose file has just arrived.
    func enqueue(_ uid: String) { enter.yield(uid) }

    /// Until the task is cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            for await uid in queue { group.addTask { await self.process(uid) } }
            group.cancelAll()
        }
    }

    /// Writes an uploaded body as the video's file.
    func store<Body: AsyncSequence & Sendable>(_ body: Body, as uid: String) async throws -> FileIntake.Receipt
    where Body.Element == FileIntake.Chunk {
        try await FileIntake.write(body, to: folder.source(of: uid))
    }

    private func process(_ uid: String) async {
        guard let video = library.video(uid) else { return }
        if video.arrival == .awaited, case .copy(let url) = video.origin { await load(url, as: uid) }
        guard let video = library.video(uid), let end = StreamVideoState.end(of: video, stages: library.stages)
        else { return }
        let wait = end - clock.now()
        do {
            if wait > .zero { try await clock.sleep(for: wait) }
        } catch {
            return
        }
        guard let video = library.video(uid) else { return }
        let body = StreamVideoJSON(origin: site.origin).webhook(video, library.stateNow(of: video))
        await sender.deliver(StreamAnswer.bytes(of: body), uid: uid)
    }

    private func load(_ url: String, as uid: String) async {
        do {
            switch SourceLocation(url) {
            case .sample(let bytes): library.arrived(uid, try await store(SampleMedia(bytes: bytes, uid: uid), as: uid))
            case .http(let url): library.arrived(uid, try await fetch(url, as: uid))
            case nil: library.failed(uid, code: "ERR_FETCH_ORIGIN_ERROR")
            }
        } catch {
            logger.warning("source was not fetched", metadata: ["clip.uid": "\(uid)", "error": "\(error)"])
            library.failed(uid, code: "ERR_FETCH_ORIGIN_ERROR")
        }
    }

    private struct FetchFailure: Error, CustomStringConvertible {
        let description: String
    }

    private func fetch(_ url: String, as uid: String) async throws -> FileIntake.Receipt {
        let path = folder.source(of: uid) + ".part"
        defer { DataFolder.remove(path) }
        var url = url
        for _ in 0...Self.redirectsMax {
            let sink = FileSink(path: path) { head in head.status == 200 ? .write(offset: 0) : .collect }
            let response = try await transport.send(OutboundRequest(url: url, sink: .file(sink), limits: .file))
            if let next = response.head.headers[.location], (300..<400).contains(response.status) {
                url = URL(string: next, relativeTo: URL(string: url))?.absoluteString ?? next
                continue
            }
            guard response.status == 200, let count = response.bytesWritten else {
                throw FetchFailure(description: "the origin answered \(response.status)")
            }
            let slice = FileSlice(path: path, offset: 0, length: count)
            return try await store(FileBytes(slices: [slice]), as: uid)
        }
        throw FetchFailure(description: "the origin redirects too often")
    }
}
