// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CloudflareStream
import Foundation
import HTTPTypes
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP

/// Downloads into a spool file from an offset on. A break is resumed at the byte where it happened, for as long as
/// every try gets further.
struct SpoolFetch: Sendable {
    /// The source is not what the spool's first bytes came from, or does not answer ranges: begin anew.
    struct Restart: Error {
        var isSameSource: Bool
    }

    let transport: any HTTPTransport
    let spool: Spool
    let hosts: DownloadHosts
    let clock: any WallClock
    /// How the file is cut, unless its record says otherwise.
    let partBytes: UInt64

    /// Cloudflare's own example follows redirects; each hop is checked like the first.
    private static let redirectsMax = 3
    /// Tries in a row that get no further.
    private static let triesMax = 3

    /// Fills the level, from what is available there to the end.
    /// - Parameters:
    ///   - record: names the tag and length that resumed bytes must belong to.
    ///   - isStillOurs: throws before another try when somebody else has the transfer: after a process has stood still,
    ///     a broken download is the first that it hears of, and fetching on would be paid for nothing.
    func run(
        _ id: ClipUID, source: any TransferSource, record: TransferRecord, level: SpoolLevel,
        isStillOurs: () async throws -> Void
    ) async throws {
        var known = record
        var tries = 0
        while true {
            let before = level.available
            do {
                let location = try await source.locate()
                try await download(id, location, record: known, level: level)
                return try finish(id, level)
            } catch TransferStop.failed(let failure) where failure.isRetryable && !failure.isWaiting {
                // All is there, and the connection only ended the wrong way.
                if level.available > before, level.available == level.total { return try finish(id, level) }
                tries = level.available > before ? 0 : tries + 1
                (known.sourceETag, known.size) = (level.etag ?? known.sourceETag, level.total ?? known.size)
                let wait = failure.retryAfter ?? .milliseconds(250 << tries)
                let canResume = level.available == 0 || known.hasStrongETag
                guard canResume, tries < Self.triesMax, wait <= .seconds(5) else { throw TransferStop.failed(failure) }
                try await clock.sleep(for: wait)
                try await isStillOurs()
            }
        }
    }

    private func finish(_ id: ClipUID, _ level: SpoolLevel) throws {
        let size = level.available
        if let total = level.total, size != total {
            throw TransferStop.retryable(
                "download_body_truncated", "the download of the MP4 ended at \(size) of \(total) bytes")
        }
        if size == 0 { throw TransferStop.permanent("download_empty", "the MP4 that Cloudflare delivers is empty") }
        level.finish(size: size)
    }

    // MARK: One try

    private func download(
        _ id: ClipUID, _ location: SourceLocation, record: TransferRecord, level: SpoolLevel
    ) async throws {
        let head = FetchHead(
            id: id, spool: spool, level: level, record: record, partBytes: record.partBytes ?? partBytes)
        let response = try await follow(location.url, head: head)
        if response.bytesWritten == nil { throw refusal(response, isPrivate: location.isPrivate) }
    }

    private func follow(_ first: String, head: FetchHead) async throws -> OutboundResponse {
        var url = first
        for _ in 0...Self.redirectsMax {
            guard let permission = hosts.permission(for: url) else { throw TransferStop.hostRefused(url) }
            var request = OutboundRequest(
                url: url,
                sink: .file(
                    FileSink(
                        path: head.path, fileBytesMax: spool.bytesMax, observer: head.level,
                        place: { head.place($0) })),
                limits: .file, addressPolicy: permission.addressPolicy)
            if head.resumesAt > 0, let etag = head.etag {
                request.headers[.range] = "bytes=\(head.resumesAt)-"
                request.headers[.ifRange] = etag
            }
            let response = try await send(request, head: head)
            guard [301, 302, 303, 307, 308].contains(response.status) else { return response }
            url = try Self.redirect(response, from: url)
        }
        throw TransferStop.permanent(
            "download_redirects", "the MP4's host redirects more than \(Self.redirectsMax) times")
    }

    private func send(_ request: OutboundRequest, head: FetchHead) async throws -> OutboundResponse {
        do throws(TransferError) {
            return try await transport.send(request)
        } catch {
            if let restart = head.restart { throw restart }
            if let refusal = head.refusal { throw TransferStop(refusal) }
            throw TransferStop(download: error, at: head.level.available, of: head.level.total)
        }
    }

    private static func redirect(_ response: OutboundResponse, from url: String) throws -> String {
        guard let location = response.head.headers[.location], let base = URL(string: url),
            let target = URL(string: location, relativeTo: base)?.absoluteURL
        else { throw TransferStop.permanent("download_redirect", "the MP4's host redirects to nowhere") }
        if base.scheme?.lowercased() == "https", target.scheme?.lowercased() != "https" {
            throw TransferStop.permanent("download_redirect", "the MP4's host redirects from HTTPS to plain HTTP")
        }
        return target.absoluteString
    }

    /// What an answer that is not the file means.
    private func refusal(_ response: OutboundResponse, isPrivate: Bool) -> any Error {
        let text = "the MP4's host answered \(response.status)"
        switch response.status {
        case 200..<300, 416:
            // Asked for the same range again, it would answer the same again.
            return Restart(isSameSource: false)
        case 401, 403:
            // A token can expire on the way, and a new try brings a new one.
            return isPrivate
                ? TransferStop.retryable("download_unauthorized", "\(text) to a fresh token")
                : TransferStop.permanent(
                    "download_unauthorized", "\(text): the clip can not be fetched without a token")
        case 408, 409, 412, 424, 425, 429, 500...:
            let after = response.head.headers[.retryAfter].flatMap { RetryAfter.parse($0, now: clock.now()) }
            return TransferStop.retryable("download_http_\(response.status)", text, after: after)
        default:
            return TransferStop.permanent(
                "download_http_\(response.status)", "\(text): the MP4 can not be fetched there")
        }
    }
}

extension HTTPField.Name {
    static let retryAfter = HTTPField.Name("Retry-After")!  // A valid token, as any test shows.
}

extension TransferRecord {
    /// Only bytes under a strong validator can be gone on from.
    var hasStrongETag: Bool { sourceETag.map { !$0.isEmpty && !$0.hasPrefix("W/") } ?? false }
}

extension TransferStop {
    fileprivate static func hostRefused(_ url: String) -> TransferStop {
        let parts = URLComponents(string: url)
        let place = [parts?.scheme, parts?.host].compactMap { $0 }.joined(separator: "://")
        let port = parts?.port.map { ":\($0)" } ?? ""
        return .permanent(
            "download_host",
            "the MP4 is at \"\(place)\(port)\", which CLIPBRIDGE_DOWNLOAD_HOSTS does not allow")
    }

    fileprivate init(_ refusal: Spool.Refusal) {
        switch refusal {
        case .neverFits(let wanted, let limit):
            self = .permanent(
                "spool_too_small",
                "the MP4 has \(wanted) bytes and CLIPBRIDGE_SPOOL_MAX_BYTES is \(limit): it can never be fetched")
        case .noRoom(let wanted, let free):
            self = .waiting(
                "spool_full",
                "the spool has no room for \(wanted) bytes, \(free) are free: waiting for other clips to finish, "
                    + "or for room on the disk of CLIPBRIDGE_SPOOL_DIR")
        }
    }
}

/// Decides from a download's head where its body goes; runs on the transport's thread.
private final class FetchHead: Sendable {
    private struct State: Sendable {
        var refusal: Spool.Refusal?
        var restart: SpoolFetch.Restart?
    }

    let level: SpoolLevel
    let resumesAt: UInt64
    let etag: String?
    private let id: ClipUID
    private let spool: Spool
    private let size: UInt64?
    private let partBytes: UInt64
    private let state = NIOLockedValueBox(State())

    init(id: ClipUID, spool: Spool, level: SpoolLevel, record: TransferRecord, partBytes: UInt64) {
        self.id = id
        self.spool = spool
        self.level = level
        self.resumesAt = level.available
        self.etag = record.sourceETag
        self.size = record.size
        self.partBytes = partBytes
    }

    var path: String { spool.path(of: id) }
    var refusal: Spool.Refusal? { state.withLockedValue(\.refusal) }
    var restart: SpoolFetch.Restart? { state.withLockedValue(\.restart) }

    func place(_ head: ResponseHead) -> FileSink.Placement {
        switch head.status {
        case 200:
            let isSameSize = size == nil || head.contentLength == nil || size == head.contentLength
            if resumesAt > 0 { return restart(isSameSource: etag != nil && head.headers[.eTag] == etag && isSameSize) }
            // Its parts may be at R2 already, and the plan for the others is made, though no byte of it is here.
            if etag.map({ head.headers[.eTag] != $0 }) ?? false || !isSameSize { return restart(isSameSource: false) }
            return take(head, total: head.contentLength)
        case 206:
            guard let range = ContentRange(head.headers[.contentRange]), range.first == resumesAt,
                range.total == nil || size == nil || range.total == size,
                head.headers[.eTag] == nil || head.headers[.eTag] == etag
            else { return restart(isSameSource: false) }
            return take(head, total: range.total ?? size)
        default:
            return .collect
        }
    }

    private func restart(isSameSource: Bool) -> FileSink.Placement {
        state.withLockedValue { $0.restart = SpoolFetch.Restart(isSameSource: isSameSource) }
        return .refuse
    }

    private func take(_ head: ResponseHead, total: UInt64?) -> FileSink.Placement {
        do throws(Spool.Refusal) {
            if let total { try spool.reserve(total, for: id) }
        } catch {
            state.withLockedValue { $0.refusal = error }
            return .refuse
        }
        // A part's answer need not name the tag again that it was asked for by.
        let plan = total.map { PartPlan(objectBytes: $0, partBytes: partBytes) }
        level.place(plan: plan, etag: head.headers[.eTag] ?? (resumesAt > 0 ? etag : nil))
        return .write(offset: resumesAt)
    }
}

/// `bytes 100-199/1000`
struct ContentRange: Equatable {
    var first: UInt64
    var last: UInt64
    var total: UInt64?

    init?(_ text: String?) {
        guard let match = text?.wholeMatch(of: /bytes (\d+)-(\d+)\/(\d+|\*)/),
            let first = UInt64(match.output.1), let last = UInt64(match.output.2), first <= last
        else { return nil }
        self.first = first
        self.last = last
        self.total = UInt64(match.output.3)
    }
}
