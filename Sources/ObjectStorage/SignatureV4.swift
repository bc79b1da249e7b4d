// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import Crypto
import FoundationEssentials

/// AWS Signature Version 4 as S3 wants it: the path is encoded once and never normalised.
///
/// The same code signs what goes out and says what a received request should have been signed with, so it takes a
/// request's raw parts and brings them into the canonical form itself.
package enum SignatureV4 {
    package static let algorithm = "AWS4-HMAC-SHA256"
    /// Stands in the place of a payload's hash where the body is not signed.
    package static let unsignedPayload = "UNSIGNED-PAYLOAD"
    /// The SHA-256 of nothing.
    package static let emptyPayloadHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    /// What a signature's key is good for.
    package struct Scope: Sendable, Equatable {
        /// `20130524`
        package var day: String
        package var region: String
        package var service: String

        package init(day: String, region: String, service: String = "s3") {
            self.day = day
            self.region = region
            self.service = service
        }

        package init(time: Timestamp, region: String, service: String = "s3") {
            self.init(day: String(SignatureV4.date(time).prefix(8)), region: region, service: service)
        }

        /// `20130524/us-east-1/s3/aws4_request`
        package var text: String { "\(day)/\(region)/\(service)/aws4_request" }
    }

    /// One header field that is signed; several of one name are joined in their order.
    package struct Header: Sendable, Equatable {
        package var name: String
        package var value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The raw parts of a request that a signature covers.
    package struct Parts: Sendable, Equatable {
        package var method: String
        /// As on the request line, percent-encoded or not, without the query.
        package var path: String
        /// As on the request line, without the `?`; in any order.
        package var query: String
        /// Exactly those that are signed, in any order, names in any case.
        package var signedHeaders: [Header]
        /// Hexadecimal SHA-256 of the body, or whatever `x-amz-content-sha256` says in its place.
        package var payloadHash: String

        package init(
            method: String,
            path: String,
            query: String = "",
            signedHeaders: [Header],
            payloadHash: String
        ) {
            self.method = method
            self.path = path
            self.query = query
            self.signedHeaders = signedHeaders
            self.payloadHash = payloadHash
        }

        /// `host;range;x-amz-date`
        package var signedHeaderNames: String {
            Set(signedHeaders.map { $0.name.lowercased() }).sorted().joined(separator: ";")
        }
    }

    /// The signature of a request whose `Authorization` header carries it, in hexadecimal digits.
    package static func signature(of parts: Parts, date: String, scope: Scope, secretAccessKey: String) -> String {
        let request = canonicalRequest(parts)
        return signature(ofCanonical: request, date: date, scope: scope, secretAccessKey: secretAccessKey)
    }

    /// The signature of a request whose query carries it; an `X-Amz-Signature` that is there already is left out.
    package static func presignedSignature(
        of parts: Parts,
        date: String,
        scope: Scope,
        secretAccessKey: String
    ) -> String {
        let request = canonicalRequest(parts, withoutParameter: "X-Amz-Signature")
        return signature(ofCanonical: request, date: date, scope: scope, secretAccessKey: secretAccessKey)
    }

    /// Compares in a time that says nothing about where the two differ.
    package static func isEqual(_ expected: String, _ given: String) -> Bool {
        let left = Array(expected.utf8)
        let right = Array(given.utf8)
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

// MARK: - Dates

extension SignatureV4 {
    /// `20130524T000000Z`
    package static func date(_ time: Timestamp) -> String {
        // RFC 3339 without its punctuation and fraction.
        time.rfc3339.filter { $0 != "-" && $0 != ":" }.prefix(15) + "Z"
    }

    /// The moment that `20130524T000000Z` names; nil for any other form.
    package static func time(ofDate date: String) -> Timestamp? {
        let letters = Array(date.utf8)
        guard letters.count == 16, letters[8] == UInt8(ascii: "T"), letters[15] == UInt8(ascii: "Z") else { return nil }
        let digits = letters[0..<8] + letters[9..<15]
        guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        func text(_ range: Range<Int>) -> String { String(decoding: letters[range], as: UTF8.self) }
        return Timestamp(
            rfc3339: "\(text(0..<4))-\(text(4..<6))-\(text(6..<8))T\(text(9..<11)):\(text(11..<13)):\(text(13..<15))Z"
        )
    }
}

// MARK: - The steps

extension SignatureV4 {
    /// What is hashed and signed; good for telling someone why two signatures differ.
    package static func canonicalRequest(_ parts: Parts, withoutParameter dropped: String? = nil) -> String {
        [
            parts.method,
            canonicalPath(parts.path),
            canonicalQuery(parts.query, withoutParameter: dropped),
            canonicalHeaders(parts.signedHeaders),
            parts.signedHeaderNames,
            parts.payloadHash,
        ].joined(separator: "\n")
    }

    static func stringToSign(canonicalRequest: String, date: String, scope: Scope) -> String {
        let hash = hexadecimal(SHA256.hash(data: Data(canonicalRequest.utf8)))
        return [algorithm, date, scope.text, hash].joined(separator: "\n")
    }

    private static func signature(
        ofCanonical request: String,
        date: String,
        scope: Scope,
        secretAccessKey: String
    ) -> String {
        let text = stringToSign(canonicalRequest: request, date: date, scope: scope)
        return hexadecimal(code(text, key: signingKey(secretAccessKey: secretAccessKey, scope: scope)))
    }

    private static func signingKey(secretAccessKey: String, scope: Scope) -> SymmetricKey {
        let start = SymmetricKey(data: Data("AWS4\(secretAccessKey)".utf8))
        return [scope.day, scope.region, scope.service, "aws4_request"].reduce(start) { key, text in
            SymmetricKey(data: Data(code(text, key: key)))
        }
    }

    private static func code(_ text: String, key: SymmetricKey) -> HMAC<SHA256>.MAC {
        HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: key)
    }

    private static func canonicalPath(_ path: String) -> String {
        path.isEmpty ? "/" : PercentEncoding.encode(PercentEncoding.decode(path), keepingSlash: true)
    }

    private static func canonicalQuery(_ query: String, withoutParameter dropped: String?) -> String {
        let items = query.split(separator: "&").map { item in
            let sides = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            // A bare plus is a space to S3, so its canonical form is the space's.
            let sidesAgain = sides.map {
                PercentEncoding.encode(PercentEncoding.decode($0, plusIsSpace: true), keepingSlash: false)
            }
            return (name: sidesAgain[0], value: sidesAgain.count > 1 ? sidesAgain[1] : "")
        }
        return items.filter { $0.name != dropped }
            .sorted { $0.name == $1.name ? isBefore($0.value, $1.value) : isBefore($0.name, $1.name) }
            .map { "\($0.name)=\($0.value)" }
            .joined(separator: "&")
    }

    /// By bytes, as the rules ask, and not by Unicode's order.
    private static func isBefore(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    /// One line a name, each with its line break.
    private static func canonicalHeaders(_ headers: [Header]) -> String {
        let values = Dictionary(grouping: headers) { $0.name.lowercased() }
        return values.sorted { $0.key < $1.key }
            .map { name, fields in "\(name):\(fields.map { trimmed($0.value) }.joined(separator: ","))\n" }
            .joined()
    }

    /// Without blanks at the ends, and with one for every run of them inside.
    private static func trimmed(_ value: String) -> String {
        value.utf8.split(whereSeparator: { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") })
            .map { String(decoding: $0, as: UTF8.self) }
            .joined(separator: " ")
    }
}
