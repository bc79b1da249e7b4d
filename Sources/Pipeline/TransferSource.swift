// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CloudflareStream
import Foundation

/// Where a transfer's bytes come from.
package protocol TransferSource: Sendable {
    /// The place to fetch from now; asked again before each try, because a token may have expired since the last one.
    func locate() async throws -> SourceLocation
}

/// A URL to fetch from.
package struct SourceLocation: Sendable {
    /// May carry a token: never stored, never logged.
    package var url: String
    /// What may be stored of it; empty where nothing may.
    package var storedURL: String
    package var isPrivate: Bool

    package init(url: String, storedURL: String, isPrivate: Bool = false) {
        self.url = url
        self.storedURL = storedURL
        self.isPrivate = isPrivate
    }
}

/// A clip's MP4 at Cloudflare.
struct ClipSource: TransferSource {
    let stream: StreamClient
    let request: ActionRequest

    func locate() async throws -> SourceLocation {
        let uid = request.uid
        do throws(StreamError) {
            guard let video = try await stream.video(uid, priority: .move) else {
                throw StreamError(code: .notFound, message: ActionFailure.videoMissing(uid).message, isRetryable: false)
            }
            guard let plain = try await plainURL() else {
                // The MP4 that a signal promised is not there: have it made, which costs nothing, and come back.
                _ = try await stream.createDownload(uid)
                throw StreamError(
                    code: .notReady, message: "Cloudflare has no MP4 of the clip yet; it was asked for",
                    isRetryable: true)
            }
            let stored = StreamURL.isPlain(plain, of: uid) ? plain : ""
            guard video.requireSignedURLs else { return SourceLocation(url: plain, storedURL: stored) }
            let token = try await stream.token(uid)
            let url = plain.replacingOccurrences(of: "/\(uid)/", with: "/\(token)/")
            return SourceLocation(url: url, storedURL: stored, isPrivate: true)
        } catch {
            throw error.code == .notFound ? .failed(.videoMissing(uid)) : TransferStop(error)
        }
    }

    /// The URL that is known, or after a failure what Cloudflare says now; nil when there is no MP4 that is ready.
    private func plainURL() async throws(StreamError) -> String? {
        if request.work.attempt == 0, let known = request.details[.mp4DownloadURL]?.stringValue { return known }
        let download = try await stream.download(request.uid, priority: .move)
        return download?.state == .ready ? download?.url : nil
    }
}

/// A URL that somebody gave.
package struct FixedSource: TransferSource {
    private let url: String

    package init(url: String) { self.url = url }

    package func locate() async throws -> SourceLocation {
        // A query may be a credential.
        SourceLocation(url: url, storedURL: String(url.prefix { $0 != "?" && $0 != "#" }))
    }
}
