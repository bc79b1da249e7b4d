// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import OutboundHTTP

/// A URL as libcurl's own parser reads it, so that the check and the transfer never disagree.
struct TargetURL {
    /// With the port where the URL names one. All of a URL that may be told in words.
    let host: String
    let isTLS: Bool

    init(_ text: String) throws(Failure) {
        guard !text.utf8.contains(0) else { throw Failure(code: .badURL, reason: "the URL holds a zero byte") }
        let url = curl_url()
        defer { curl_url_cleanup(url) }
        let flags = UInt32(CURLU_DISALLOW_USER | CURLU_PATH_AS_IS)
        let code = curl_url_set(url, CURLUPART_URL, text, flags)
        guard code == CURLUE_OK else {
            throw Failure(code: .badURL, reason: "the URL is not usable: \(String(cString: curl_url_strerror(code)))")
        }
        let scheme = Self.part(CURLUPART_SCHEME, of: url) ?? ""
        guard scheme == "http" || scheme == "https" else {
            throw Failure(code: .badURL, reason: "the URL's scheme is \"\(scheme)\", not http or https")
        }
        isTLS = scheme == "https"
        let name = Self.part(CURLUPART_HOST, of: url) ?? ""
        host = Self.part(CURLUPART_PORT, of: url).map { "\(name):\($0)" } ?? name
    }

    /// For words only: empty where there is no telling.
    static func host(of text: String) -> String {
        (try? TargetURL(text))?.host ?? ""
    }

    private static func part(_ part: CURLUPart, of url: OpaquePointer?) -> String? {
        var value: UnsafeMutablePointer<CChar>?
        guard curl_url_get(url, part, &value, 0) == CURLUE_OK, let value else { return nil }
        defer { curl_free(value) }
        return String(cString: value)
    }
}
