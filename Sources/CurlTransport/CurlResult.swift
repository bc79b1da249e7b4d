// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import OutboundHTTP

/// libcurl's result codes in the words of `TransferError`.
enum CurlResult {
    static func code(_ code: CURLcode, detail: String) -> TransferError.Code {
        switch code {
        case CURLE_URL_MALFORMAT, CURLE_LOGIN_DENIED:
            .badURL
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY:
            .resolve
        case CURLE_COULDNT_CONNECT, CURLE_INTERFACE_FAILED, CURLE_NO_CONNECTION_AVAILABLE, CURLE_PROXY,
            CURLE_QUIC_CONNECT_ERROR:
            .connect
        case CURLE_SSL_CONNECT_ERROR where isBrokenHandshake(detail):
            .connect
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_ENGINE_NOTFOUND,
            CURLE_SSL_ENGINE_SETFAILED, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_USE_SSL_FAILED,
            CURLE_SSL_ENGINE_INITFAILED, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_SHUTDOWN_FAILED, CURLE_SSL_CRL_BADFILE,
            CURLE_SSL_ISSUER_ERROR, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_INVALIDCERTSTATUS,
            CURLE_SSL_CLIENTCERT, CURLcode(51):
            .tls
        case CURLE_PARTIAL_FILE:
            .bodyTruncated
        case CURLE_FILESIZE_EXCEEDED:
            .bodyTooLarge
        case CURLE_GOT_NOTHING, CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_SEND_FAIL_REWIND:
            .reset
        case CURLE_UNSUPPORTED_PROTOCOL:
            // Of the answer: the URL's own scheme was looked at before.
            .protocolError
        case CURLE_WEIRD_SERVER_REPLY, CURLE_HTTP2, CURLE_HTTP2_STREAM, CURLE_HTTP3, CURLE_BAD_CONTENT_ENCODING,
            CURLE_RANGE_ERROR, CURLE_TOO_MANY_REDIRECTS, CURLE_CHUNK_FAILED:
            .protocolError
        case CURLE_OPERATION_TIMEDOUT:
            .timeout
        case CURLE_WRITE_ERROR, CURLE_READ_ERROR:
            .file
        default:
            .other
        }
    }

    /// Whether the connection is to blame, when no byte of an answer had come over it.
    static func isBrokenConnection(_ code: CURLcode) -> Bool {
        switch code {
        case CURLE_PARTIAL_FILE, CURLE_GOT_NOTHING, CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_HTTP2,
            CURLE_HTTP2_STREAM:
            true
        default:
            false
        }
    }

    /// libcurl's own words where it gave any. They name hosts at most; those on proxies may hold a password.
    static func reason(_ code: CURLcode, detail: String) -> String {
        let isAboutProxy = code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_PROXY
        if detail.isEmpty || isAboutProxy { return String(cString: curl_easy_strerror(code)) }
        return detail
    }

    /// Tells libcurl's low-speed limit from its limit on the whole, which share a code.
    static func isLowSpeed(_ detail: String) -> Bool {
        detail.hasPrefix("Operation too slow")
    }

    /// A peer that hangs up in the middle of the handshake, as load balancers do when they restart, is no verdict on
    /// anybody's certificate; libcurl has one code for both.
    private static func isBrokenHandshake(_ detail: String) -> Bool {
        ["SSL_ERROR_SYSCALL", "unexpected eof", "onnection reset"].contains { detail.contains($0) }
    }
}
