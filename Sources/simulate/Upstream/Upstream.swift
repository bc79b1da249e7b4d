// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import HTTPTypes
import OutboundHTTP

/// The services outside, all in memory: Stream's API, its MP4 host and R2.
final class Upstream: Sendable {
    enum Service: Sendable { case stream, media, bucket }

    static let streamBase = "https://api.sim"
    static let account = "sim"
    static let mediaHost = "media.sim"
    static let bucketEndpoint = "https://r2.sim"
    static let bucketName = "clips"

    struct Call: Sendable {
        var service: Service
        var method: HTTPRequest.Method
        /// Below the account's `/stream`, the host or the bucket.
        var path: [String]
        var query: [String: String]
        var headers: HTTPFields
        var owner: String
        var began: Timestamp

        /// The same of every try.
        var id: String {
            let items = query.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            return "\(owner) \(method) \(service) \(path.joined(separator: "/"))?\(items.joined(separator: "&"))"
        }
    }

    struct Answer: Sendable {
        var status: Int
        var headers: HTTPFields = [:]
        var body: [UInt8] = []
        /// Of an answer to HEAD.
        var contentLength: UInt64?

        init(_ status: Int, _ body: [UInt8] = []) {
            self.status = status
            self.body = body
        }
    }

    let stream: StreamService
    let media: MediaHost
    let bucket: Bucket
    let traffic: Traffic
    private let world: WorldState

    init(_ world: WorldState) {
        self.world = world
        media = MediaHost(world)
        stream = StreamService(world)
        bucket = Bucket(world)
        traffic = Traffic(world)
    }

    /// A request sets out.
    func begin(_ request: OutboundRequest, by life: Life) -> Call {
        let (service, rest) = Self.place(request.url)
        let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let items = (parts.count > 1 ? parts[1] : "").split(separator: "&").map { item in
            let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (String(pair[0]), pair.count > 1 ? String(pair[1]).replacing("%2F", with: "/") : "")
        }
        let call = Call(
            service: service, method: request.method,
            path: (parts.first ?? "").split(separator: "/").map(String.init),
            query: Dictionary(items.map { ($0.0, $0.1.replacing("%2C", with: ",")) }) { first, _ in first },
            headers: request.headers, owner: life.owner, began: world.clock.now())
        traffic.begin(call)
        return call
    }

    private static func place(_ url: String) -> (Service, Substring) {
        let prefixes: [(Service, String)] = [
            (.stream, "\(streamBase)/accounts/\(account)/stream"), (.media, "https://\(mediaHost)/media"),
            (.bucket, "\(bucketEndpoint)/\(bucketName)"),
        ]
        for (service, prefix) in prefixes where url.hasPrefix(prefix) { return (service, url.dropFirst(prefix.count)) }
        preconditionFailure("nobody is at \(url)")
    }

    func answer(_ call: Call, _ body: [UInt8]) -> Answer {
        switch call.service {
        case .stream: stream.answer(call)
        case .media: media.answer(call)
        case .bucket: bucket.answer(call, body)
        }
    }

    /// The answer has reached the one who asked.
    func end(_ call: Call, _ answer: Answer, _ life: Life) { traffic.end(call, answer) }
}
