// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import HTTPTypes
import OutboundHTTP

/// How a request becomes options of an easy handle.
extension Transfer {
    func configure(_ settings: TransferSettings, isTLS: Bool) throws(Failure) {
        try setHeaders(settings)
        try check(targetOptions(settings))
        try check(methodOptions())
        try check(bufferOptions(settings, isTLS: isTLS))
        try check(limitOptions(settings))
        try check(securityOptions(settings))
        try check(callbackOptions())
    }

    private func check(_ codes: [CURLcode]) throws(Failure) {
        guard let code = codes.first(where: { $0 != CURLE_OK }) else { return }
        let reason = String(cString: curl_easy_strerror(code))
        throw Failure(code: .other, reason: "libcurl refused an option: \(reason) (curl \(code.rawValue))")
    }

    private func targetOptions(_ settings: TransferSettings) -> [CURLcode] {
        var codes = [
            ccurl_set_url(easy, request.url),
            ccurl_set_path_as_is(easy, 1),
            ccurl_set_protocols(easy, "http,https"),
            ccurl_set_disallow_username_in_url(easy, 1),
            ccurl_set_follow_location(easy, 0),
            ccurl_set_http_version(easy, httpVersion),
            ccurl_set_http09_allowed(easy, 0),
            ccurl_set_suppress_connect_headers(easy, 1),
            ccurl_set_tcp_keepalive(easy, 1),
            ccurl_set_no_signal(easy, 1),
            // A look-up that hangs would otherwise hold the loop when its transfer is removed; the resolver's thread
            // then ends, and frees what it has, by itself (curl #8515).
            ccurl_set_quick_exit(easy, 1),
        ]
        if let noProxy = settings.noProxy, request.addressPolicy == .any {
            codes.append(ccurl_set_no_proxy(easy, noProxy))
        } else {
            codes.append(ccurl_set_proxy(easy, ""))
        }
        return codes
    }

    /// Files go over HTTP/1.1, each on a connection of its own, which the next one uses again. Over HTTP/2 the parts of
    /// an upload would share one connection, its congestion window and its flow control, which is the slower way to R2;
    /// and libcurl 7.88 can not hold back one of a connection's downloads without stopping the others (measured).
    private var httpVersion: Int {
        request.body.isFile || request.sink.isFile ? ccurl_http_version_1_1() : ccurl_http_version_2_over_tls()
    }

    private func bufferOptions(_ settings: TransferSettings, isTLS: Bool) -> [CURLcode] {
        let download = TransferBuffers.download(isTLS: isTLS, bytesPerSecondMax: settings.downloadBytesPerSecondMax)
        return [
            ccurl_set_receive_buffer_size(easy, request.sink.isFile ? download : TransferBuffers.call),
            ccurl_set_send_buffer_size(easy, TransferBuffers.upload),
        ]
    }

    /// Everything with a body is an upload of known length to libcurl, whatever its method: the one way in which it
    /// states `Content-Length` for 0 bytes too and adds no `Content-Type`.
    private func methodOptions() -> [CURLcode] {
        let method = request.method.rawValue
        return switch request.method {
        case .head:
            [ccurl_set_no_body(easy, 1)]
        case _ where request.body.isPresent, .post, .put, .patch:
            [
                ccurl_set_upload(easy, 1),
                ccurl_set_upload_length(easy, curl_off_t(clamping: reader.length)),
                ccurl_set_custom_request(easy, method),
            ]
        case .get:
            [ccurl_set_http_get(easy, 1)]
        default:
            [ccurl_set_http_get(easy, 1), ccurl_set_custom_request(easy, method)]
        }
    }

    private func limitOptions(_ settings: TransferSettings) -> [CURLcode] {
        let limits = request.limits
        return [
            ccurl_set_connect_timeout_ms(easy, limits.connect.wholeMilliseconds),
            ccurl_set_low_speed_limit(easy, lowSpeedBytesPerSecond(settings)),
            ccurl_set_low_speed_time(easy, (limits.lowSpeed.wholeMilliseconds + 999) / 1000),
            ccurl_set_timeout_ms(easy, limits.total.wholeMilliseconds),
        ]
    }

    /// A transfer whose share of a small cap is less than what counts as slow is not ended for it.
    private func lowSpeedBytesPerSecond(_ settings: TransferSettings) -> Int {
        let caps = [
            request.sink.isFile ? settings.downloadBytesPerSecondMax : nil,
            request.body.isFile ? settings.uploadBytesPerSecondMax : nil,
        ]
        let share = caps.compactMap { $0 }.min().map { max(1, Int(clamping: $0 / 64)) } ?? .max
        return min(max(0, request.limits.lowSpeedBytesPerSecond), share)
    }

    private func securityOptions(_ settings: TransferSettings) -> [CURLcode] {
        var codes = [
            ccurl_set_ssl_verify_peer(easy, 1),
            ccurl_set_ssl_verify_host(easy, 2),
            ccurl_set_ssl_version(easy, ccurl_tls_1_2_or_newer()),
        ]
        if let file = settings.extraAuthoritiesFile {
            // Takes the place of the system's bundle only: its folder of the same authorities stays in force.
            codes.append(ccurl_set_ca_file(easy, file))
        }
        return codes
    }

    private func callbackOptions() -> [CURLcode] {
        // Unretained: `CurlDriver` holds the transfer for as long as libcurl may call back.
        let owner = Unmanaged.passUnretained(self).toOpaque()
        var codes = [
            ccurl_set_private(easy, owner),
            ccurl_set_error_buffer(easy, errorBuffer),
            ccurl_set_header(easy, TransferCallbacks.header, owner),
            ccurl_set_write(easy, TransferCallbacks.write, owner),
            ccurl_set_read(easy, TransferCallbacks.read, owner),
            ccurl_set_seek(easy, TransferCallbacks.seek, owner),
        ]
        if request.addressPolicy == .publicOnly {
            codes.append(ccurl_set_open_socket(easy, TransferCallbacks.openSocket, owner))
            codes.append(ccurl_set_prereq(easy, TransferCallbacks.prereq, owner))
        }
        return codes
    }
}

// MARK: - Header fields

extension Transfer {
    /// libcurl's own to state, or never to be sent.
    private static let reserved: Set<HTTPField.Name> = [.contentLength, .expect, .transferEncoding]

    private func setHeaders(_ settings: TransferSettings) throws(Failure) {
        for field in request.headers where !Self.reserved.contains(field.name) {
            // With nothing after a colon libcurl would take the field out instead.
            let line = field.value.isEmpty ? "\(field.name);" : "\(field.name): \(field.value)"
            try append(line)
        }
        try append("Expect:")
        try append("Transfer-Encoding:")
        if request.headers[.accept] == nil { try append("Accept:") }
        if request.headers[.userAgent] == nil { try check([ccurl_set_user_agent(easy, settings.userAgent)]) }
        if let headerList { try check([ccurl_set_http_header(easy, headerList)]) }
    }

    private func append(_ line: String) throws(Failure) {
        guard let list = curl_slist_append(headerList, line) else {
            throw Failure(code: .other, reason: "libcurl has no memory for a header field")
        }
        headerList = list
    }
}

extension Duration {
    /// At least 1, because libcurl reads 0 as no limit or its own, and at most what it accepts.
    var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        guard seconds < Int64(Int32.max) / 1000 else { return Int(Int32.max) }
        return max(1, Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000))
    }
}
