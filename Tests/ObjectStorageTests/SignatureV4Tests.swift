// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Crypto
import Foundation
import HTTPTypes
import ObjectStorage
import Testing

@Suite struct SignatureV4Tests {
    @Test func s3DocumentationHeaderExamplesAreSignedAsPublished() throws {
        let document = try S3Documentation.load()
        #expect(document.headerExamples.count == 4)
        for example in document.headerExamples {
            let hash = FileDigest(of: Array(example.payload.utf8)).sha256
            var headers = HTTPFields()
            for (name, value) in example.headers { headers[try #require(HTTPField.Name(name))] = value }
            let signed = document.signer.signedHeaders(
                method: try #require(HTTPRequest.Method(example.method)),
                url: example.url,
                headers: headers,
                payloadHash: hash,
                time: document.time
            )
            #expect(
                signed[.authorization]
                    == "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
                    + "SignedHeaders=\(example.signedHeaders),Signature=\(example.signature)",
                "\(example.name)"
            )
            #expect(signed[.amzContentSHA256] == hash)
            #expect(signed[.amzDate] == "20130524T000000Z")
        }
    }

    @Test func s3DocumentationCanonicalRequestsAreAsPublished() throws {
        for example in try S3Documentation.load().headerExamples {
            let url = try #require(URLComponents(string: example.url))
            let hash = FileDigest(of: Array(example.payload.utf8)).sha256
            let added = [
                "host": "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z",
                "x-amz-content-sha256": hash,
            ]
            let headers = example.headers.merging(added) { given, _ in given }
            let request = SignatureV4.canonicalRequest(
                SignatureV4.Parts(
                    method: example.method,
                    path: url.percentEncodedPath,
                    query: url.percentEncodedQuery ?? "",
                    signedHeaders: headers.map { .init($0.key, $0.value) },
                    payloadHash: hash
                )
            )
            #expect(FileDigest(of: Array(request.utf8)).sha256 == example.canonicalRequestHash, "\(example.name)")
        }
    }

    @Test func s3DocumentationPresignedURLIsAsPublished() throws {
        let document = try S3Documentation.load()
        let example = document.presignedExample
        let url = document.signer.presignedURL(
            method: .get,
            url: example.url,
            expiresIn: example.expires,
            time: document.time
        )
        #expect(url == example.signedURL)
    }

    @Test func signingTestSuiteHeaderFormIsVerified() throws {
        let cases = try SignedRequestText.all(named: "header-signed-request.txt")
        #expect(cases.count == 15)
        for request in cases {
            let authorization = try #require(request.header("Authorization"))
            let parts = request.parts(signedHeaders: try #require(authorization.value(after: "SignedHeaders=")))
            let expected = try #require(authorization.value(after: "Signature="))
            let signature = SignatureV4.signature(
                of: parts,
                date: SignedRequestText.date,
                scope: SignedRequestText.scope,
                secretAccessKey: SignedRequestText.secretAccessKey
            )
            #expect(signature == expected, "\(request.name)")
        }
    }

    @Test func signingTestSuiteQueryFormIsVerified() throws {
        let cases = try SignedRequestText.all(named: "query-signed-request.txt")
        #expect(cases.count == 2)
        for request in cases {
            let names = try #require(request.target.value(after: "X-Amz-SignedHeaders="))
            let parts = request.parts(signedHeaders: names.replacing("%3B", with: ";"))
            let signature = SignatureV4.presignedSignature(
                of: parts,
                date: SignedRequestText.date,
                scope: SignedRequestText.scope,
                secretAccessKey: SignedRequestText.secretAccessKey
            )
            #expect(signature == request.target.value(after: "X-Amz-Signature="), "\(request.name)")
        }
    }

    @Test func encodingAndOrderOfWhatArrivesDoNotMatter() {
        func signature(path: String, query: String, headers: [SignatureV4.Header]) -> String {
            let parts = SignatureV4.Parts(
                method: "GET",
                path: path,
                query: query,
                signedHeaders: headers,
                payloadHash: SignatureV4.emptyPayloadHash
            )
            return SignatureV4.signature(
                of: parts,
                date: "20260102T030405Z",
                scope: .init(day: "20260102", region: "auto"),
                secretAccessKey: "secret"
            )
        }
        let plain = signature(
            path: "/bucket/a%20b%2B%C3%A9",
            query: "list-type=2&prefix=a%20b",
            headers: [.init("host", "h"), .init("x-amz-date", "20260102T030405Z")]
        )
        let other = signature(
            path: "/bucket/a b+%c3%a9",
            query: "prefix=a+b&list%2dtype=2",
            headers: [.init("X-Amz-Date", " 20260102T030405Z "), .init("Host", "h")]
        )
        #expect(plain == other)
        let changed = signature(
            path: "/bucket/a%20b",
            query: "list-type=2&prefix=a%20b",
            headers: [.init("host", "h"), .init("x-amz-date", "20260102T030405Z")]
        )
        #expect(plain != changed)
    }

    @Test func pathIsNeverNormalised() {
        let signer = RequestSigner(
            credentials: .init(accessKeyID: "key", secretAccessKey: "secret"),
            region: "auto"
        )
        let time = Timestamp(seconds: 1_700_000_000)
        let urls = ["http://h/b/a//b", "http://h/b/a/b", "http://h/b/a/./b", "http://h/b/x/../a/b"]
        let signatures = urls.map {
            signer.signedHeaders(method: .get, url: $0, payloadHash: SignatureV4.emptyPayloadHash, time: time)[
                .authorization
            ]
        }
        #expect(Set(signatures).count == urls.count)
    }

    @Test func schemesOwnPortIsNotPartOfTheHost() {
        let signer = RequestSigner(
            credentials: .init(accessKeyID: "key", secretAccessKey: "secret"),
            region: "auto"
        )
        func authorization(_ url: String) -> String? {
            signer.signedHeaders(
                method: .get,
                url: url,
                payloadHash: SignatureV4.emptyPayloadHash,
                time: Timestamp(seconds: 0)
            )[
                .authorization
            ]
        }
        #expect(authorization("https://H.example:443/b") == authorization("https://h.example/b"))
        #expect(authorization("http://h.example:80/b") == authorization("http://h.example/b"))
        #expect(authorization("http://h.example:443/b") != authorization("http://h.example/b"))
    }

    @Test func datesGoBothWays() {
        #expect(SignatureV4.date(Timestamp(seconds: 1_369_353_600)) == "20130524T000000Z")
        #expect(SignatureV4.time(ofDate: "20130524T000000Z") == Timestamp(seconds: 1_369_353_600))
        for wrong in ["", "20130524T000000", "2013-05-24T00:00:00Z", "20131324T000000Z", "2013052AT000000Z"] {
            #expect(SignatureV4.time(ofDate: wrong) == nil, "\(wrong)")
        }
    }

    @Test func comparisonNeedsEveryLetter() {
        #expect(SignatureV4.isEqual("abc", "abc"))
        #expect(!SignatureV4.isEqual("abc", "abd"))
        #expect(!SignatureV4.isEqual("abc", "ab"))
        #expect(!SignatureV4.isEqual("", "a"))
    }

    @Test func credentialsNeverShowTheSecret() {
        let credentials = StorageCredentials(
            accessKeyID: "key",
            secretAccessKey: "very-secret",
            sessionToken: "token-secret"
        )
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped] {
            #expect(!text.contains("secret") && text.contains("key"))
        }
    }
}

/// fixtures/sigv4/s3-documentation.json
private struct S3Documentation: Decodable {
    struct HeaderExample: Decodable {
        var name, method, url: String
        var headers: [String: String]
        var payload, signedHeaders, canonicalRequestHash, signature: String
    }

    struct PresignedExample: Decodable {
        var method, url, signedURL: String
        var expires: Int
    }

    var accessKeyID, secretAccessKey, region: String
    var headerExamples: [HeaderExample]
    var presignedExample: PresignedExample

    var time: Timestamp { Timestamp(seconds: 1_369_353_600) }
    var signer: RequestSigner {
        RequestSigner(
            credentials: .init(accessKeyID: accessKeyID, secretAccessKey: secretAccessKey),
            region: region
        )
    }

    static func load() throws -> Self {
        let file = Repository.signatureVectors.appending(path: "s3-documentation.json")
        return try JSONDecoder().decode(Self.self, from: Data(contentsOf: file))
    }
}

/// A request of AWS's signing test suite, as text with its signature in it.
private struct SignedRequestText {
    static let secretAccessKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    static let date = "20150830T123600Z"
    static let scope = SignatureV4.Scope(day: "20150830", region: "us-east-1", service: "service")

    var name: String
    var method: String
    var target: String
    var headers: [SignatureV4.Header]

    init(name: String, text: String) throws {
        self.name = name
        let lines = text.split(separator: "\n")
        let words = try #require(lines.first).split(separator: " ")
        method = String(words[0])
        target = words[1..<(words.count - 1)].joined(separator: " ")
        headers = lines.dropFirst().map { line in
            let sides = line.split(separator: ":", maxSplits: 1)
            return .init(String(sides[0]), String(sides[1]))
        }
    }

    static func all(named file: String) throws -> [Self] {
        let folder = Repository.signatureVectors.appending(path: "aws-signing-test-suite")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path()).sorted()
        return try names.compactMap { name in
            let path = folder.appending(path: "\(name)/\(file)")
            guard FileManager.default.fileExists(atPath: path.path()) else { return nil }
            return try Self(name: name, text: String(contentsOf: path, encoding: .utf8))
        }
    }

    func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    func parts(signedHeaders names: String) -> SignatureV4.Parts {
        let sides = target.split(separator: "?", maxSplits: 1).map(String.init)
        let signed = Set(names.split(separator: ";").map(String.init))
        return SignatureV4.Parts(
            method: method,
            path: sides[0],
            query: sides.count > 1 ? sides[1] : "",
            signedHeaders: headers.filter { signed.contains($0.name.lowercased()) },
            payloadHash: SignatureV4.emptyPayloadHash
        )
    }
}

extension String {
    /// What follows `mark` up to the next comma, ampersand, blank or the end.
    fileprivate func value(after mark: String) -> String? {
        guard let start = firstRange(of: mark)?.upperBound else { return nil }
        return String(self[start...].prefix { $0 != "," && $0 != "&" && $0 != " " })
    }
}
