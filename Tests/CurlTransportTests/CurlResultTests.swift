// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import HTTPTypes
import OutboundHTTP
import Testing

@testable import CurlTransport

@Suite struct CurlResultTests {
    @Test(
        arguments: [
            (1, .protocolError), (3, .badURL), (67, .badURL), (5, .resolve), (6, .resolve), (7, .connect),
            (97, .connect),
            (8, .protocolError), (16, .protocolError), (92, .protocolError), (95, .protocolError), (18, .bodyTruncated),
            (28, .timeout), (35, .tls), (51, .tls), (53, .tls), (58, .tls), (59, .tls), (60, .tls), (64, .tls),
            (77, .tls), (80, .tls), (82, .tls), (83, .tls), (90, .tls), (91, .tls), (98, .tls), (52, .reset),
            (55, .reset), (56, .reset), (65, .reset), (63, .bodyTooLarge), (23, .file), (26, .file), (27, .other),
            (42, .other), (43, .other), (99, .other),
        ] as [(UInt32, TransferError.Code)]
    )
    func eachResultHasItsCode(number: UInt32, code: TransferError.Code) {
        #expect(CurlResult.code(CURLcode(number), detail: "") == code)
    }

    @Test func brokenHandshakeIsNoVerdictOnTLS() {
        let detail = "OpenSSL SSL_connect: Connection reset by peer in connection to example.com:443"
        #expect(CurlResult.code(CURLE_SSL_CONNECT_ERROR, detail: detail) == .connect)
    }

    @Test func onlyAConnectionsOwnEndIsBlamedOnIt() {
        for number in [16, 18, 52, 55, 56, 92] as [UInt32] { #expect(CurlResult.isBrokenConnection(CURLcode(number))) }
        for number in [0, 6, 7, 23, 26, 28, 35, 42, 60] as [UInt32] {
            #expect(!CurlResult.isBrokenConnection(CURLcode(number)))
        }
    }

    @Test func onlyWhatMayHappenTwiceStartsOver() {
        for method in [HTTPRequest.Method.get, .head, .put, .delete, .options] { #expect(method.isIdempotent) }
        for method in [HTTPRequest.Method.post, .patch, .connect] { #expect(!method.isIdempotent) }
    }

    @Test func proxyWordsAreNotRepeated() {
        let reason = CurlResult.reason(CURLE_COULDNT_RESOLVE_PROXY, detail: "'http://user:secret@proxy'")
        #expect(!reason.contains("secret"))
    }
}
