// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import HummingbirdCore
package import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
package import OutboundHTTP
import ServiceLifecycle

/// A stand-in for Cloudflare Stream's API, its MP4 host and R2's S3 API, on one loopback port.
///
/// Everything is done through the real APIs. A video takes a few members of its `meta` as instructions:
///
/// | member | value | effect |
/// |---|---|---|
/// | `sandbox_error` | an error code such as `ERR_MALFORMED_VIDEO` | encoding fails with it |
/// | `sandbox_mp4` | `never` | the MP4 stays `inprogress` |
/// | | `error` | making the MP4 fails, each time |
/// | | `error_once` | making the MP4 fails the first time it is asked for |
package final class Sandbox: Service, Sendable {
    private let configuration: SandboxConfiguration
    private let identity: SandboxIdentity
    private let clock: any WallClock
    private let logger: Logger
    private let site = SandboxSite()
    private let folder: DataFolder
    private let library: StreamLibrary
    private let worker: VideoWorker
    private let downloads = DownloadCounter()
    private let objects: ObjectStore
    private let bound: EventLoopPromise<SandboxSettings>

    /// Opens the data folder. `transport` fetches what is uploaded by URL and sends the webhooks.
    package init(
        configuration: SandboxConfiguration,
        transport: any HTTPTransport,
        clock: any WallClock = SystemWallClock(),
        logger: Logger
    ) throws {
        self.configuration = configuration
        self.identity = SandboxIdentity(seed: configuration.seed)
        self.clock = clock
        self.logger = logger
        self.folder = DataFolder(path: configuration.dataDirectory)
        try folder.prepare()
        self.objects = try ObjectStore(folder: folder, clock: clock)
        try objects.createBucket(configuration.bucket)
        self.library = StreamLibrary(
            identity: identity, folder: folder, stages: configuration.stages.sped(up: configuration.speed),
            clock: clock)
        if let url = configuration.notifyURL { library.subscriptions.subscribe(url, now: clock.now()) }
        self.worker = VideoWorker(
            library: library, folder: folder, site: site, transport: transport,
            faults: FaultPlan(configuration.faults.filter { $0.route == .webhook }, seed: configuration.seed),
            clock: clock, logger: logger)
        self.bound = MultiThreadedEventLoopGroup.singleton.any().makePromise()
    }

    deinit {
        // A sandbox that never ran must not leave anybody waiting; of two outcomes a promise keeps the first.
        bound.fail(CancellationError())
    }

    /// The settings that point a bridge here; waits until the port is bound, and throws what kept it from that.
    package var settings: SandboxSettings {
        get async throws { try await bound.futureResult.get() }
    }

    /// The file that a video was made from and its MP4 consists of; it is there when the video has arrived.
    package func sourceFile(of uid: String) -> String { folder.source(of: uid) }

    /// How often and how much of a video's MP4 was downloaded.
    package func downloads(of uid: String) -> DownloadCount { downloads.count(of: uid) }

    /// Serves until the task is cancelled or a graceful shutdown begins.
    ///
    /// `onBound` runs when the port is taken and before the first request is answered.
    package func run(onBound: @escaping @Sendable (SandboxSettings) async -> Void) async throws {
        let host = AreaHost(
            areas: areas(),
            faults: FaultPlan(configuration.faults.filter { $0.route != .webhook }, seed: configuration.seed),
            clock: clock, accessLog: try configuration.accessLog.map(AccessLog.init))
        // Below `critical` the server tells how each of its connections ended, which nobody wants to know here.
        var serverLogger = logger
        serverLogger.logLevel = .critical
        let server = Server(
            childChannelSetup: HTTP1Channel(responder: { request, writer, channel in
                try await host.serve(request, writer, channel)
            }),
            configuration: ServerConfiguration(address: .hostname("127.0.0.1", port: configuration.port)),
            onServerRunning: { channel in
                let settings = SandboxSettings(
                    identity: self.identity, port: channel.localAddress?.port ?? 0, bucket: self.configuration.bucket)
                self.site.origin = settings.origin
                await onBound(settings)
                self.bound.succeed(settings)
            },
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
            logger: serverLogger)
        do {
            try await cancelWhenGracefulShutdown {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await server.run() }
                    group.addTask { await self.worker.run() }
                    try await group.next()
                    group.cancelAll()
                }
            }
        } catch is CancellationError {
            bound.fail(CancellationError())
        } catch {
            bound.fail(error)
            throw error
        }
    }

    package func run() async throws { try await run(onBound: { _ in }) }

    private func areas() -> Areas {
        let limiter = configuration.rateLimit.map { RequestLimiter($0, clock: clock) }
        let tokens = PlaybackTokens(identity: identity)
        return Areas(
            stream: StreamRoutes(
                identity: identity, library: library, worker: worker, site: site, tokens: tokens, limiter: limiter,
                clock: clock),
            upload: UploadRoutes(library: library, worker: worker, clock: clock),
            media: MediaRoutes(library: library, folder: folder, tokens: tokens, counter: downloads, clock: clock),
            publicBucket: PublicBucketRoutes(store: objects, bucket: configuration.bucket),
            storage: S3Routes(
                store: objects,
                authentication: S3Authentication(
                    accessKeyID: identity.accessKeyID, secretAccessKey: identity.secretAccessKey, clock: clock),
                clock: clock))
    }
}

/// Where the sandbox is to be found, known once its port is bound.
final class SandboxSite: Sendable {
    private let box = NIOLockedValueBox("http://127.0.0.1")

    var origin: String {
        get { box.withLockedValue { $0 } }
        set { box.withLockedValue { $0 = newValue } }
    }
}
