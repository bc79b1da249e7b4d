// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
package import HTTPTypes

/// Signs outgoing requests with one key pair.
package struct RequestSigner: Sendable {
    package var credentials: StorageCredentials
    package var region: String
    package var service: String

    package init(credentials: StorageCredentials, region: String, service: String = "s3") {
        self.credentials = credentials
        self.region = region
        self.service = service
    }

    /// `headers` with what makes them a signed set: date, payload hash, session token and `Authorization`.
    ///
    /// All given headers are signed, and `Host` as HTTP clients derive it from the URL.
    package func signedHeaders(
        method: HTTPRequest.Method,
        url: String,
        headers: HTTPFields = [:],
        payloadHash: String,
        time: Timestamp
    ) -> HTTPFields {
        let date = SignatureV4.date(time)
        let scope = SignatureV4.Scope(time: time, region: region, service: service)
        var headers = headers
        headers[.amzDate] = date
        headers[.amzContentSHA256] = payloadHash
        headers[.amzSecurityToken] = credentials.sessionToken
        let parts = parts(method: method, url: url, headers: headers, payloadHash: payloadHash)
        let signature = SignatureV4.signature(
            of: parts,
            date: date,
            scope: scope,
            secretAccessKey: credentials.secretAccessKey
        )
        headers[.authorization] =
            "\(SignatureV4.algorithm) Credential=\(credentials.accessKeyID)/\(scope.text),"
            + "SignedHeaders=\(parts.signedHeaderNames),Signature=\(signature)"
        return headers
    }

    /// The URL with its signature in the query; whoever has it may send this one request until it expires.
    package func presignedURL(
        method: HTTPRequest.Method,
        url: String,
        headers: HTTPFields = [:],
        expiresIn seconds: Int,
        time: Timestamp
    ) -> String {
        let date = SignatureV4.date(time)
        let scope = SignatureV4.Scope(time: time, region: region, service: service)
        var parts = parts(method: method, url: url, headers: headers, payloadHash: SignatureV4.unsignedPayload)
        let added: [(String, String?)] = [
            ("X-Amz-Algorithm", SignatureV4.algorithm),
            ("X-Amz-Credential", "\(credentials.accessKeyID)/\(scope.text)"),
            ("X-Amz-Date", date),
            ("X-Amz-Expires", String(seconds)),
            ("X-Amz-Security-Token", credentials.sessionToken),
            ("X-Amz-SignedHeaders", parts.signedHeaderNames),
        ]
        let text = added.compactMap { name, value in value.map { "\(name)=\(PercentEncoding.encode($0))" } }
        parts.query = ([parts.query].filter { !$0.isEmpty } + text).joined(separator: "&")
        let signature = SignatureV4.presignedSignature(
            of: parts,
            date: date,
            scope: scope,
            secretAccessKey: credentials.secretAccessKey
        )
        let base = url.prefix { $0 != "?" && $0 != "#" }
        return "\(base)?\(parts.query)&X-Amz-Signature=\(signature)"
    }

    private func parts(
        method: HTTPRequest.Method,
        url: String,
        headers: HTTPFields,
        payloadHash: String
    ) -> SignatureV4.Parts {
        let url = URLParts(url)
        let given = headers.filter { $0.name != .authorization }
            .map { SignatureV4.Header($0.name.canonicalName, $0.value) }
        return SignatureV4.Parts(
            method: method.rawValue,
            path: url.path,
            query: url.query,
            signedHeaders: [SignatureV4.Header("host", url.host)] + given,
            payloadHash: payloadHash
        )
    }
}

/// The pieces of an absolute URL that is already encoded; nothing in them is changed but the host's case.
struct URLParts {
    var scheme: String
    /// As the `Host` header has it: in lower case, with the port unless it is the scheme's own.
    var host: String
    /// Empty or from the first slash on.
    var path: String
    var query: String

    init(_ url: String) {
        let whole = url.prefix { $0 != "#" }
        let sides = whole.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let address = sides.first.map(String.init) ?? ""
        query = sides.count > 1 ? String(sides[1]) : ""
        guard let mark = address.firstRange(of: "://") else {
            (scheme, host, path) = ("", "", address)
            return
        }
        scheme = address[..<mark.lowerBound].lowercased()
        let rest = address[mark.upperBound...]
        let authority = rest.prefix { $0 != "/" }
        path = String(rest[authority.endIndex...])
        host = authority.lowercased()
        let ownPort = scheme == "https" ? ":443" : scheme == "http" ? ":80" : nil
        if let ownPort, host.hasSuffix(ownPort) { host.removeLast(ownPort.count) }
    }
}

extension HTTPField.Name {
    /// Traps only if the text were no token, and these are.
    private static func known(_ name: String) -> Self {
        guard let name = Self(name) else { preconditionFailure("\"\(name)\" is no header name") }
        return name
    }

    package static let amzDate = known("x-amz-date")
    package static let amzContentSHA256 = known("x-amz-content-sha256")
    package static let amzSecurityToken = known("x-amz-security-token")
    package static let amzRequestID = known("x-amz-request-id")
    package static let cloudflareRay = known("cf-ray")
}
