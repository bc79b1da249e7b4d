// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import FoundationEssentials
import HTTPTypes

// MARK: Videos

extension StreamClient {
    /// UIDs that one list call asks for; about 33 bytes of URL each.
    package static let uidsPerListMax = 100

    /// The video; nil when Cloudflare says that it has none of this uid.
    package func video(_ uid: ClipUID, priority: RequestPriority = .poll) async throws(StreamError) -> StreamVideo? {
        let call = Call(endpoint: .getVideo, method: .get, path: "/\(uid)", priority: priority)
        do throws(StreamError) {
            guard let video = try await result(StreamVideo.self, of: call) else {
                throw StreamError.unexpected(.getVideo, status: 200, why: "without a video")
            }
            return video
        } catch  where error.code == .notFound {
            return nil
        }
    }

    /// The videos of these uids by as few calls as can be. A uid that is missing was deleted, or is no video of the
    /// account's: `video(_:)` tells for certain.
    package func videos(
        _ uids: [ClipUID],
        priority: RequestPriority = .poll
    ) async throws(StreamError) -> [ClipUID: StreamVideo] {
        var found: [ClipUID: StreamVideo] = [:]
        var rest = uids[...]
        while !rest.isEmpty {
            let ids = rest.prefix(Self.uidsPerListMax).map(\.rawValue).joined(separator: ",")
            rest = rest.dropFirst(Self.uidsPerListMax)
            let page = try await list("id=\(ids)", endpoint: .listVideos, priority: priority)
            for video in page.videos { found[video.uid] = video }
        }
        return found
    }

    /// Videos of the account, newest first, created before `before`. The API pages by creation time: the next page
    /// is asked for with the last video's `created`, and videos of the same moment may come twice.
    package func listPage(before: Timestamp? = nil, limit: Int = 1_000) async throws(StreamError) -> StreamPage {
        let bound = before.map { "&before=\(PercentEncoding.segment($0.rfc3339))" } ?? ""
        return try await list("limit=\(min(max(limit, 1), 1_000))\(bound)", endpoint: .listVideos, priority: .move)
    }

    /// Tries account and token by the cheapest call there is.
    package func verify() async throws(StreamError) {
        _ = try await list("limit=1", endpoint: .verify, priority: .move)
    }

    private func list(
        _ query: String,
        endpoint: StreamEndpoint,
        priority: RequestPriority
    ) async throws(StreamError) -> StreamPage {
        let call = Call(endpoint: endpoint, method: .get, path: "?\(query)", priority: priority)
        let entries = try await result(StreamList<StreamVideo>.self, of: call)?.elements ?? []
        let videos = entries.compactMap(\.self)
        return StreamPage(videos: videos, unreadable: entries.count - videos.count)
    }
}

/// A part of the account's videos.
package struct StreamPage: Sendable, Equatable {
    package var videos: [StreamVideo]
    /// Entries without a valid uid.
    package var unreadable: Int
}

// MARK: MP4 downloads

extension StreamClient {
    /// Asks for the MP4; asking again for one that is there or on its way changes nothing.
    package func createDownload(_ uid: ClipUID) async throws(StreamError) -> StreamDownload? {
        var call = Call(endpoint: .createDownload, method: .post, path: "/\(uid)/downloads/default", priority: .move)
        do throws(StreamError) {
            return try await result(StreamDownloads.self, of: call)?.video
        } catch  where error.code == .noRoute {
            // The older path, which Cloudflare keeps for those who have no types of downloads.
            call.path = "/\(uid)/downloads"
            return try await result(StreamDownloads.self, of: call)?.video
        }
    }

    /// How far the MP4 is; nil when none was asked for. Throws `.notFound` when there is no such video.
    package func download(_ uid: ClipUID, priority: RequestPriority = .poll) async throws(StreamError)
        -> StreamDownload?
    {
        let call = Call(endpoint: .getDownloads, method: .get, path: "/\(uid)/downloads", priority: priority)
        return try await result(StreamDownloads.self, of: call)?.video
    }

    /// Deletes the MP4, so that it can be asked for anew. That there is none is no failure.
    package func deleteDownload(_ uid: ClipUID) async throws(StreamError) {
        var call = Call(endpoint: .deleteDownload, method: .delete, path: "/\(uid)/downloads/default", priority: .move)
        do throws(StreamError) {
            _ = try await result(Anything.self, of: call)
        } catch  where error.code == .noRoute {
            call.path = "/\(uid)/downloads"
            _ = try await result(Anything.self, of: call)
        } catch  where error.code == .notFound {
            return
        }
    }

    /// A token that stands in the uid's place in a private video's URLs. It is a credential: never stored or logged.
    package func token(
        _ uid: ClipUID,
        downloadable: Bool = true,
        lifetime: Duration = .seconds(3_600)
    ) async throws(StreamError) -> String {
        let expiry = now.seconds + Int64(lifetime.inSeconds)
        let json = Self.json(["downloadable": .bool(downloadable), "exp": .integer(expiry)])
        let call = Call(endpoint: .createToken, method: .post, path: "/\(uid)/token", json: json, priority: .move)
        guard let token = try await result(StreamToken.self, of: call)?.token, !token.isEmpty else {
            throw .unexpected(.createToken, status: 200, why: "without a token")
        }
        return token
    }

    static func json(_ object: [String: JSONValue]) -> [UInt8] { Array(JSONValue.object(object).json.utf8) }
}

private struct StreamToken: StreamResult {
    var token: String

    init?(json: JSONValue) {
        guard let token = json.objectValue?["token"]?.stringValue else { return nil }
        self.token = token
    }
}

// MARK: Webhook subscription

/// The account's one webhook subscription.
package struct StreamWebhook: Sendable, Equatable {
    package var notificationURL: String
    /// Changes whenever the URL does.
    package var secret: String?
    package var modified: Timestamp?
}

extension StreamWebhook: CustomStringConvertible, CustomReflectable {
    package var description: String { "StreamWebhook(\(notificationURL))" }
    /// Without the secret.
    package var customMirror: Mirror { Mirror(self, children: ["notificationURL": notificationURL]) }
}

extension StreamClient {
    /// The subscription; nil when there is none.
    package func webhook() async throws(StreamError) -> StreamWebhook? {
        let call = Call(endpoint: .getWebhook, method: .get, path: "/webhook", priority: .move)
        do throws(StreamError) {
            return try await result(WebhookAnswer.self, of: call)?.webhook
        } catch  where error.code == .notFound {
            return nil
        }
    }

    /// Subscribes `url` in the place of whatever is subscribed now. A URL other than the present one gets a new secret;
    /// whether the same one does is not documented, so read before writing.
    package func subscribeWebhook(_ url: String) async throws(StreamError) -> StreamWebhook {
        let json = Self.json(["notificationUrl": .string(url)])
        let call = Call(endpoint: .putWebhook, method: .put, path: "/webhook", json: json, priority: .move)
        guard let webhook = try await result(WebhookAnswer.self, of: call)?.webhook else {
            throw .unexpected(.putWebhook, status: 200, why: "without the subscription")
        }
        return webhook
    }

    package func deleteWebhook() async throws(StreamError) {
        let call = Call(endpoint: .deleteWebhook, method: .delete, path: "/webhook", priority: .move)
        _ = try await result(Anything.self, of: call)
    }
}

private struct WebhookAnswer: StreamResult {
    var webhook: StreamWebhook?

    init?(json: JSONValue) {
        guard let object = json.objectValue else { return nil }
        // Real answers carry both spellings.
        guard let url = object.text("notificationUrl") ?? object.text("notification_url") else { return }
        webhook = StreamWebhook(
            notificationURL: url, secret: object.text("secret"), modified: object.time("modified"))
    }
}
