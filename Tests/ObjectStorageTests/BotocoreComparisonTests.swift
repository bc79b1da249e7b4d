// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import HTTPTypes
import ObjectStorage
import Testing

/// The same requests signed here and by botocore. It fails where botocore is missing: `deploy/test.sh` installs it.
@Suite struct BotocoreComparisonTests {
    @Test(arguments: [1, 20_260_101] as [UInt64])
    func randomRequestsAreSignedAsBotocoreSignsThem(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let requests = (0..<200).map { _ in RandomRequest(using: &generator) }
        let answers = try await Botocore.sign(requests)
        try #require(answers.count == requests.count)
        for (request, answer) in zip(requests, answers) {
            try check(request, answer)
        }
    }

    private func check(_ request: RandomRequest, _ answer: Botocore.Answer) throws {
        let url = request.configuration.url(key: request.key, query: request.query.map { ($0.name, $0.value) })
        #expect(url == answer.url)
        let signer = RequestSigner(credentials: request.configuration.credentials, region: request.region)
        let method = try #require(HTTPRequest.Method(request.method))
        let time = try #require(SignatureV4.time(ofDate: request.date))
        let payloadHash = FileDigest(of: Array(request.body)).sha256

        let signed = signer.signedHeaders(
            method: method,
            url: url,
            headers: try request.fields(),
            payloadHash: payloadHash,
            time: time
        )
        #expect(
            signed[.authorization]?.hasSuffix("SignedHeaders=\(answer.signedHeaders),Signature=\(answer.signature)")
                == true,
            "\(signed[.authorization] ?? ""); botocore signed: \(answer.canonicalRequest)"
        )

        let presigned = signer.presignedURL(
            method: method,
            url: url,
            headers: try request.fields(),
            expiresIn: request.expires,
            time: time
        )
        #expect(presigned.signature == answer.presignedURL.signature, "\(presigned) \(answer.presignedURL)")
        try checkVerification(request, answer, payloadHash: payloadHash)
    }

    /// The receiving side, from what botocore would put on the wire.
    private func checkVerification(_ request: RandomRequest, _ answer: Botocore.Answer, payloadHash: String) throws {
        let scope = SignatureV4.Scope(day: String(request.date.prefix(8)), region: request.region)
        let presigned = try #require(URLComponents(string: answer.presignedURL))
        let host = SignatureV4.Header("Host", request.host)
        let parts = SignatureV4.Parts(
            method: request.method,
            path: presigned.percentEncodedPath,
            query: presigned.percentEncodedQuery ?? "",
            signedHeaders: [host] + request.headers.map { .init($0.name, $0.value) },
            payloadHash: SignatureV4.unsignedPayload
        )
        let signature = SignatureV4.presignedSignature(
            of: parts,
            date: request.date,
            scope: scope,
            secretAccessKey: request.secretAccessKey
        )
        #expect(signature == answer.presignedURL.signature)
    }
}

/// A request with everything that makes signing hard.
private struct RandomRequest: Encodable {
    struct Item: Encodable {
        var name: String
        var value: String?
    }

    struct Header: Encodable {
        var name: String
        var value: String
    }

    var endpoint, bucket, key, method, region, date, accessKeyID, secretAccessKey: String
    var sessionToken: String?
    var query: [Item]
    var headers: [Header]
    var body: Data
    var expires: Int

    private static let pieces = [
        "a", "Z", "9", " ", "  ", "+", "~", "/", "//", "%", "%2F", "é", "日本", "🎬", "=", "&", "?", "#", "$", "'", "(",
        "*", "!", ",", ";", ":", "@", "[", "\"", "<", "|", "\\", "^", "`", "{", "-", "_", ".", "..", "\u{7F}",
    ]
    private static let valuePieces = ["a", "B", "7", " ", "  ", "     ", ",", "=", ";", "\"", "/", "-"]
    private static let headerNames = [
        "content-type", "cache-control", "if-none-match", "x-amz-meta-a", "range", "expires",
    ]

    init(using generator: inout SeededGenerator) {
        endpoint = ["http://127.0.0.1:9000", "https://0a1b.r2.cloudflarestorage.com", "http://s3.example:80"]
            .randomElement(using: &generator)!
        bucket = ["clips", "my.bucket", "b-1"].randomElement(using: &generator)!
        key = "k" + Self.text(Self.pieces, max: 12, using: &generator)
        method = ["GET", "PUT", "POST", "HEAD", "DELETE"].randomElement(using: &generator)!
        region = ["auto", "us-east-1"].randomElement(using: &generator)!
        date = SignatureV4.date(Timestamp(seconds: .random(in: 0..<4_000_000_000, using: &generator)))
        accessKeyID = "AKID" + Self.text(["A", "B", "7"], max: 8, using: &generator)
        secretAccessKey = "s" + Self.text(["a", "/", "+", "Z", "0"], max: 30, using: &generator)
        sessionToken =
            Bool.random(using: &generator) ? "t" + Self.text(["a", "/", "+", "="], max: 9, using: &generator) : nil
        // Names are different, because botocore's presigning keeps one of several.
        let names = ["uploads", "partNumber", "prefix", "é~", "X+Y", "a b"].shuffled(using: &generator)
        query = names.prefix(.random(in: 0...4, using: &generator)).map { name in
            let value = Bool.random(using: &generator) ? Self.text(Self.pieces, max: 6, using: &generator) : nil
            return Item(name: name, value: value)
        }
        let count = Int.random(in: 0...3, using: &generator)
        headers = Self.headerNames.shuffled(using: &generator).prefix(count).map { name in
            Header(name: name, value: "v" + Self.text(Self.valuePieces, max: 8, using: &generator) + "e")
        }
        body = Data(
            (0..<Int.random(in: 0...64, using: &generator)).map { _ in .random(in: 0...255, using: &generator) }
        )
        expires = .random(in: 1...604_800, using: &generator)
    }

    private static func text(_ pieces: [String], max: Int, using generator: inout SeededGenerator) -> String {
        (0..<Int.random(in: 0...max, using: &generator)).map { _ in pieces.randomElement(using: &generator)! }.joined()
    }

    var configuration: S3Configuration {
        S3Configuration(
            endpoint: endpoint,
            region: region,
            bucket: bucket,
            credentials: .init(
                accessKeyID: accessKeyID,
                secretAccessKey: secretAccessKey,
                sessionToken: sessionToken
            )
        )
    }

    var host: String {
        endpoint.replacing("https://", with: "").replacing("http://", with: "").replacing(":80", with: "")
    }

    func fields() throws -> HTTPFields {
        var fields = HTTPFields()
        for header in headers {
            fields.append(HTTPField(name: try #require(HTTPField.Name(header.name)), value: header.value))
        }
        return fields
    }
}

extension String {
    fileprivate var signature: String? {
        firstRange(of: "X-Amz-Signature=").map { String(self[$0.upperBound...]) }
    }
}

private enum Botocore {
    struct Answer: Decodable {
        var url, canonicalRequest, signedHeaders, signature, presignedURL: String
    }

    static func sign(_ requests: [RandomRequest]) async throws -> [Answer] {
        try await withTemporaryFolder { folder in
            let input = folder.appending(path: "requests.json")
            try JSONEncoder().encode(requests).write(to: input)
            let output = try await run(input: input, folder: folder)
            return try JSONDecoder().decode([Answer].self, from: output)
        }
    }

    /// With files instead of pipes, so that neither side can wait for the other.
    private static func run(input: URL, folder: URL) async throws -> Data {
        let python = ProcessInfo.processInfo.environment["CLIPBRIDGE_TEST_PYTHON"] ?? "python3"
        let output = folder.appending(path: "output")
        let problems = folder.appending(path: "problems")
        for file in [output, problems] { try Data().write(to: file) }
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [python, Repository.botocoreSigner.path()]
        process.standardInput = try FileHandle(forReadingFrom: input)
        process.standardOutput = try FileHandle(forWritingTo: output)
        process.standardError = try FileHandle(forWritingTo: problems)
        let status = try await withCheckedThrowingContinuation {
            (continuation: CheckedContinuation<Int32, any Error>) in
            process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        let text = try String(contentsOf: problems, encoding: .utf8)
        try #require(
            status == 0,
            """
            \(python) can not sign with botocore; deploy/test.sh installs it, or name another Python in \
            CLIPBRIDGE_TEST_PYTHON: \(text)
            """
        )
        return try Data(contentsOf: output)
    }
}
