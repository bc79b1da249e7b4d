// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import HummingbirdCore
import NIOCore
import NIOHTTPTypes

/// The areas by the first segment of the path; what belongs to none of the others is S3.
struct Areas: Sendable {
    /// No bucket may have one of these names.
    static let reservedNames: Set<String> = ["client", "upload", "media", "public"]

    var stream: any SandboxArea
    var upload: any SandboxArea
    var media: any SandboxArea
    var publicBucket: any SandboxArea
    var storage: any SandboxArea

    func area(of request: SandboxRequest) -> any SandboxArea {
        switch request.rawPath.split(separator: "/", maxSplits: 1).first {
        case "client": stream
        case "upload": upload
        case "media": media
        case "public": publicBucket
        default: storage
        }
    }
}

/// Takes requests off connections, lets the faults strike, and has the areas answer.
struct AreaHost: Sendable {
    let areas: Areas
    let faults: FaultPlan
    let clock: any WallClock
    let accessLog: AccessLog?

    /// Throws when the connection is not to be used any more.
    @concurrent
    func serve(_ request: Request, _ writer: consuming ResponseWriter, _ channel: any Channel) async throws {
        var request = SandboxRequest(request)
        let area = areas.area(of: request)
        let routes = area.faultRoutes(of: request)
        let strike = faults.strike(on: routes)
        let cut = ConnectionCut(strike.kind)
        let begin = clock.now()
        var status: Int?
        defer { accessLog?.write(request, begin: begin, end: clock.now(), status: status) }
        do {
            if strike.latency > .zero { try await clock.sleep(for: strike.latency) }
            if case .status(let number, let retryAfter, let code) = strike.kind {
                var answer = area.faultAnswer(status: number, code: code)
                answer.headers[.retryAfter] = retryAfter.map(String.init)
                status = number
                return try await ResponseSender.send(answer, isHead: request.isHead, cut: nil, to: writer)
            }
            if let cut, strike.kind != .drop, routes.contains(where: \.cutsRequestBody) {
                request.body = request.body.cut(cut)
            }
            var isBodyHeldBack = request.expectsContinue
            var answer = try await area.respond(to: request) {
                guard isBodyHeldBack else { return }
                isBodyHeldBack = false
                try await channel.writeAndFlush(HTTPResponsePart.head(HTTPResponse(status: .continue)))
            }
            // Without the body nobody knows where on this connection the next request begins.
            if isBodyHeldBack { answer.headers[.connection] = "close" }
            try await ResponseSender.send(answer, isHead: request.isHead, cut: cut, to: writer)
            status = answer.status.code
            if isBodyHeldBack { throw ConnectionEnded() }
        } catch let cut as ConnectionCut {
            await cut.perform(on: channel)
            throw cut
        } catch let ended as ConnectionEnded {
            // Closing the output alone waits for what is written to leave.
            try? await channel.close(mode: .output).get()
            throw ended
        }
    }
}

/// The answer is out, and the connection is of no use any more.
private struct ConnectionEnded: Error {}
