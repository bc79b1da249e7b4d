// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// What a sandbox is to be like.
package struct SandboxConfiguration: Sendable {
    /// 0 takes any free port.
    package var port: Int
    /// Buckets, objects and source files live below this folder; it is made where it does not exist.
    package var dataDirectory: String
    /// How many times faster than the wall clock videos move on and webhooks are repeated.
    package var speed: Double
    /// Subscribed as the account's webhook from the start.
    package var notifyURL: String?
    package var faults: [FaultSpec]
    /// Decides identifiers, keys, sample media and which requests a fault strikes.
    package var seed: UInt64
    /// Nil lets any number of requests through.
    package var rateLimit: RateLimit?
    package var stages: StageDurations
    package var bucket: String
    /// A file that gets a line for each request.
    package var accessLog: String?

    package init(
        port: Int = 0,
        dataDirectory: String,
        speed: Double = 1,
        notifyURL: String? = nil,
        faults: [FaultSpec] = [],
        seed: UInt64 = 1,
        rateLimit: RateLimit? = nil,
        stages: StageDurations = StageDurations(),
        bucket: String = "clips",
        accessLog: String? = nil
    ) {
        self.port = port
        self.dataDirectory = dataDirectory
        self.speed = speed
        self.notifyURL = notifyURL
        self.faults = faults
        self.seed = seed
        self.rateLimit = rateLimit
        self.stages = stages
        self.bucket = bucket
        self.accessLog = accessLog
    }
}

/// How many requests in how long; one more blocks every request for as long again, as with Cloudflare.
package struct RateLimit: Sendable, Equatable {
    package var requests: Int
    package var window: Duration

    package init(requests: Int, window: Duration) {
        self.requests = requests
        self.window = window
    }

    /// Cloudflare's own: 1,200 in five minutes.
    package static let cloudflare = RateLimit(requests: 1200, window: .seconds(300))
}

/// How long a video takes over each stage at speed 1.
package struct StageDurations: Sendable, Equatable {
    /// The least time in `downloading`, however quick the fetch.
    package var download: Duration
    package var queue: Duration
    package var encode: Duration
    package var mp4: Duration
    /// Before a webhook's second attempt; doubled for each further one.
    package var webhookBackoff: Duration

    package init(
        download: Duration = .seconds(1),
        queue: Duration = .seconds(2),
        encode: Duration = .seconds(20),
        mp4: Duration = .seconds(10),
        webhookBackoff: Duration = .seconds(1)
    ) {
        self.download = download
        self.queue = queue
        self.encode = encode
        self.mp4 = mp4
        self.webhookBackoff = webhookBackoff
    }

    /// The same stages on a clock that runs `speed` times faster.
    func sped(up speed: Double) -> StageDurations {
        StageDurations(
            download: download / speed, queue: queue / speed, encode: encode / speed, mp4: mp4 / speed,
            webhookBackoff: webhookBackoff / speed)
    }
}
