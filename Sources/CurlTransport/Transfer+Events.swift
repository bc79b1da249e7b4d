// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import Glibc
import HTTPTypes
import OutboundHTTP

/// What happens to a transfer while it runs. False or nil ends it, with the reason in `failure`.
extension Transfer {
    func receiveHeaderLine(_ line: UnsafeRawBufferPointer) -> Bool {
        attempt { () throws(Failure) in
            switch parser.receive(line) {
            case .needsMore:
                break
            case .complete(let head):
                try writer.begin(head, hasBody: request.method != .head && head.status != 204 && head.status != 304)
            case .tooLarge:
                let reason = "the response's header fields exceed \(grouped(UInt64(HeadParser.bytesMax))) bytes"
                throw Failure(code: .protocolError, reason: reason)
            }
        }
    }

    func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if request.sink.isFile { limiter.spendDownload(bytes.count) }
        return attempt { () throws(Failure) in try metered { () throws(Failure) in try writer.write(bytes) } }
    }

    /// Whether the file lacks something that has arrived.
    var hasUnwritten: Bool { writer.hasUnwritten }

    /// Brings to the file what has arrived.
    func flush() throws(Failure) {
        try metered { () throws(Failure) in try writer.flush() }
    }

    /// Counts after the write: whoever reads the meter may read the file that far.
    func metered(_ write: () throws(Failure) -> Void) throws(Failure) {
        let before = writer.bytesInPlace
        defer { request.meter?.addReceived(Int(writer.bytesInPlace - before)) }
        try write()
    }

    func supplyBody(_ buffer: UnsafeMutableRawBufferPointer) -> Int? {
        var supplied: Int?
        _ = attempt { () throws(Failure) in
            let isFile = request.body.isFile
            let room = isFile ? UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(uploadFillBytesMax)) : buffer
            let (count, new) = try reader.read(into: room)
            if isFile { limiter.spendUpload(count) }
            request.meter?.addSent(new)
            supplied = count
        }
        return supplied
    }

    /// Holds the transfer, or lets it go on.
    ///
    /// libcurl's own limit for one transfer is used as a gate: beyond 1 byte/s it lets the transfer rest and does not
    /// look at its socket, and without a limit it goes on at the next `perform`. Limits between the two would not do:
    /// libcurl 7.88 judges by up to 3 s of the past, so that a share that became smaller stands still for seconds, one
    /// that grew bursts. Nothing is paused and unpaused, which is where libcurl programs hang (curl #18848, #6631).
    /// Every 3 s libcurl begins a new measurement and lets one buffer through a shut gate; it is paid for like others.
    func set(_ gates: BandwidthLimiter.Gates) {
        // Fails for negative numbers only.
        if request.sink.isFile { _ = ccurl_set_receive_speed_max(easy, gates.isDownloadOpen ? 0 : 1) }
        if request.body.isFile { _ = ccurl_set_send_speed_max(easy, gates.isUploadOpen ? 0 : 1) }
    }

    /// Makes ready to run once more, on a new connection, when a kept one broke before a byte of the answer came.
    /// Over HTTP/1 libcurl does that itself; over HTTP/2 7.88 takes a connection that the server has said good-bye on
    /// (GOAWAY) for a live one. A request that must not be acted on twice is left to the caller.
    func startsOver(after code: CURLcode) -> Bool {
        guard !hasStartedOver, failure == nil, parser.bytes == 0, request.method.isIdempotent,
            CurlResult.isBrokenConnection(code), ccurl_get_connects(easy) == 0, reader.seek(to: 0),
            ccurl_set_fresh_connect(easy, 1) == CURLE_OK
        else { return false }
        hasStartedOver = true
        return true
    }

    func rewind(to offset: Int64, origin: CInt) -> Bool {
        origin == SEEK_SET && reader.seek(to: offset)
    }

    /// Whether a socket may be opened to `address`.
    func judge(_ address: [UInt8]) -> Bool {
        let isAllowed = AddressRules.isPublic(address)
        if isAllowed { addressesAllowed += 1 } else { addressesRefused += 1 }
        return isAllowed
    }

    /// Whether a request may go out on the connection to `text`. A kept connection may have been opened for a request
    /// with another policy, and no socket is opened then.
    func judgeConnection(to text: String) -> Bool {
        attempt { () throws(Failure) in
            guard AddressRules.isPublic(Self.addressBytes(text)) else { throw Self.addressRefused }
        }
    }

    static let addressRefused = Failure(code: .addressRefused, reason: "its address is not a public one")

    /// Empty, and so not public, for what is not a numeric address.
    private static func addressBytes(_ text: String) -> [UInt8] {
        var v4 = in_addr()
        if inet_pton(AF_INET, text, &v4) == 1 { return withUnsafeBytes(of: v4) { Array($0) } }
        var v6 = in6_addr()
        if inet_pton(AF_INET6, text, &v6) == 1 { return withUnsafeBytes(of: v6) { Array($0) } }
        return []
    }

    private func attempt(_ body: () throws(Failure) -> Void) -> Bool {
        do throws(Failure) {
            try body()
            return true
        } catch {
            failure = error
            return false
        }
    }
}

extension HTTPRequest.Method {
    /// RFC 9110, 9.2.2: done twice is the same as done once.
    var isIdempotent: Bool {
        [.get, .head, .put, .delete, .options, .trace].contains(self)
    }
}
