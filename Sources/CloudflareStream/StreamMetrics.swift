// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Metrics
import NIOConcurrencyHelpers

/// A kind of call, for metrics and texts.
package enum StreamEndpoint: String, Sendable, CaseIterable {
    case getVideo = "get_video"
    case listVideos = "list_videos"
    case createDownload = "create_download"
    case getDownloads = "get_downloads"
    case deleteDownload = "delete_download"
    case createToken = "create_token"
    case getWebhook = "get_webhook"
    case putWebhook = "put_webhook"
    case deleteWebhook = "delete_webhook"
    case verify

    /// What the call does, as the beginning of a sentence.
    package var words: String {
        switch self {
        case .getVideo: "reading the video"
        case .listVideos: "listing videos"
        case .createDownload: "asking for the MP4"
        case .getDownloads: "reading the MP4's state"
        case .deleteDownload: "deleting the MP4"
        case .createToken: "making a download token"
        case .getWebhook: "reading the webhook subscription"
        case .putWebhook: "subscribing the webhook"
        case .deleteWebhook: "deleting the webhook subscription"
        case .verify: "trying the API token"
        }
    }
}

/// Counts calls; every counter is made once.
final class StreamMetrics: Sendable {
    private struct Key: Hashable {
        var endpoint: StreamEndpoint
        var code: String
    }

    private let counters = NIOLockedValueBox<[Key: Counter]>([:])
    private let factory: any MetricsFactory

    init(factory: any MetricsFactory) {
        self.factory = factory
    }

    /// - Parameter code: an HTTP status or a transfer error's short description.
    func count(_ endpoint: StreamEndpoint, code: String) {
        let key = Key(endpoint: endpoint, code: code)
        let counter = counters.withLockedValue { counters in
            if let counter = counters[key] { return counter }
            let counter = Counter(
                label: "clipbridge_cloudflare_requests_total",
                dimensions: [("endpoint", endpoint.rawValue), ("code", code)],
                factory: factory
            )
            counters[key] = counter
            return counter
        }
        counter.increment()
    }
}
