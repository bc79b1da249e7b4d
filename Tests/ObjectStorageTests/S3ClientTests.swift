// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import Foundation
import HTTPTypes
import ObjectStorage
import OutboundHTTP
import Testing

@Suite struct S3ClientTests {
    private static let payloadHash = FileDigest(of: Array("abc".utf8)).sha256
    private static let etag = "900150983cd24fb0d6963f7d28e17f72"

    @Test func putIsSignedAndCarriesTheRealHash() async throws {
        let transport = FakeTransport(answers: [.answer(200, etag: "\"\(Self.etag)\"")])
        let meter = TransferMeter()
        let tag = try await client(transport).putObject(
            "videos/a b+é~.mp4",
            body: .bytes(Array("abc".utf8)),
            payloadHash: Self.payloadHash,
            contentType: "video/mp4",
            headers: [.cacheControl: "no-store"],
            ifNoneMatch: "*",
            meter: meter
        )
        #expect(tag == Self.etag)
        #expect(meter.bytesSent == 3)
        let request = try #require(transport.requests.first)
        #expect(request.method == .put)
        #expect(request.url == "https://storage.example/base/clips/videos/a%20b%2B%C3%A9~.mp4")
        #expect(request.headers[.contentType] == "video/mp4")
        #expect(request.headers[.cacheControl] == "no-store")
        #expect(request.headers[.ifNoneMatch] == "*")
        #expect(request.headers[HTTPField.Name("x-amz-content-sha256")!] == Self.payloadHash)
        #expect(request.headers[.expect] == nil && request.headers[.transferEncoding] == nil)
        #expect(request.limits == .file)
        let authorization = try #require(request.headers[.authorization])
        #expect(authorization.hasPrefix("AWS4-HMAC-SHA256 Credential=key/20231114/auto/s3/aws4_request,"))
        #expect(
            authorization.contains(
                "SignedHeaders=cache-control;content-type;host;if-none-match;x-amz-content-sha256;x-amz-date,"
            )
        )
    }

    @Test func filesRangeIsSentFromTheFile() async throws {
        try await withTemporaryFolder { folder in
            let file = folder.appending(path: "spool")
            try Data("xxabcyy".utf8).write(to: file)
            let transport = FakeTransport(answers: [.answer(200, etag: "\"\(Self.etag)\"")])
            _ = try await client(transport).uploadPart(
                "k",
                uploadID: "id/+=",
                number: 7,
                body: .file(path: file.path(), offset: 2, length: 3),
                payloadHash: Self.payloadHash
            )
            let request = try #require(transport.requests.first)
            #expect(try request.body.content() == Array("abc".utf8))
            #expect(request.url.hasSuffix("/clips/k?partNumber=7&uploadId=id%2F%2B%3D"))
        }
    }

    @Test func headSaysSizeAndTagOrNil() async throws {
        let transport = FakeTransport(answers: [
            .answer(200, etag: "\"\(Self.etag)\"", contentLength: 73_400_320), .answer(404), .answer(403),
        ])
        let client = client(transport)
        #expect(try await client.headObject("k") == ObjectHead(size: 73_400_320, etag: Self.etag))
        #expect(try await client.headObject("k") == nil)
        let error = await #expect(throws: ObjectStorageError.self) { try await client.headObject("k") }
        #expect(error?.code == .accessDenied)
        #expect(transport.requests.allSatisfy { $0.method == .head })
    }

    @Test func headWithoutLengthIsNoAnswer() async {
        let error = await #expect(throws: ObjectStorageError.self) {
            try await client(FakeTransport(answers: [.answer(200)])).headObject("k")
        }
        #expect(error?.code == .malformedAnswer && error?.isRetryable == true)
    }

    @Test func missingBucketIsNamedWithItsSetting() async {
        let transport = FakeTransport(answers: [.answer(404), .answer(404, error: "NoSuchBucket")])
        let error = await #expect(throws: ObjectStorageError.self) { try await client(transport).headBucket() }
        #expect(error?.code == .noSuchBucket && error?.isRetryable == false && error?.isOutcomeKnown == true)
        #expect(
            error?.message.hasPrefix(
                "bucket \"clips\" does not exist at https://storage.example/base: check R2_BUCKET_NAME"
            ) == true
        )
        #expect(transport.requests.first?.url == "https://storage.example/base/clips")
        let again = await #expect(throws: ObjectStorageError.self) {
            try await client(transport).putObject("k", body: .bytes([]), payloadHash: SignatureV4.emptyPayloadHash)
        }
        #expect(again?.code == .noSuchBucket)
    }

    @Test func uploadInPartsIsStartedListedAndCompleted() async throws {
        let transport = FakeTransport(answers: [
            .answer(
                200,
                xml: """
                    <?xml version="1.0" encoding="UTF-8"?>
                    <InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
                      <Bucket>clips</Bucket><Key>k</Key><UploadId>id-1</UploadId>
                    </InitiateMultipartUploadResult>
                    """
            ),
            .answer(
                200,
                xml: partsPage(
                    "<Part><PartNumber>2</PartNumber><LastModified>x</LastModified><ETag>&quot;b&quot;</ETag><Size>5</Size></Part><Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag><Size>6</Size></Part>",
                    next: 2
                )
            ),
            .answer(
                200,
                xml: partsPage("<Part><PartNumber>3</PartNumber><ETag>c</ETag><Size>1</Size></Part>", next: nil)
            ),
            .answer(
                200,
                xml:
                    "\n  <CompleteMultipartUploadResult><Key>k</Key><ETag>&quot;abc-2&quot;</ETag></CompleteMultipartUploadResult>"
            ),
        ])
        let client = client(transport)
        #expect(try await client.createMultipartUpload("k", contentType: "video/mp4") == "id-1")
        #expect(
            try await client.listParts("k", uploadID: "id-1") == [
                UploadedPart(number: 1, size: 6, etag: "a"), UploadedPart(number: 2, size: 5, etag: "b"),
                UploadedPart(number: 3, size: 1, etag: "c"),
            ]
        )
        let parts = [CompletedPart(number: 2, etag: "b&<"), CompletedPart(number: 1, etag: "\"a\"")]
        #expect(try await client.completeMultipartUpload("k", uploadID: "id-1", parts: parts) == "abc-2")

        let requests = transport.requests
        #expect(requests.map(\.method) == [.post, .get, .get, .post])
        #expect(requests[0].url.hasSuffix("/clips/k?uploads="))
        #expect(requests[0].headers[.contentType] == "video/mp4")
        guard case .bytes(let start) = requests[0].body else {
            Issue.record("a POST without a body has to say that its length is 0")
            return
        }
        #expect(start.isEmpty)
        #expect(requests[1].url.hasSuffix("/clips/k?max-parts=1000&uploadId=id-1"))
        #expect(requests[2].url.hasSuffix("&part-number-marker=2"))
        #expect(
            String(decoding: try requests[3].body.content(), as: UTF8.self)
                == "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                + "<Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part>"
                + "<Part><PartNumber>2</PartNumber><ETag>&quot;b&amp;&lt;&quot;</ETag></Part></CompleteMultipartUpload>"
        )
    }

    @Test func uploadWithoutPartsHasAnEmptyList() async throws {
        let transport = FakeTransport(answers: [.answer(200, xml: partsPage("", next: nil))])
        #expect(try await client(transport).listParts("k", uploadID: "id").isEmpty)
    }

    @Test func listThatNeverGoesOnIsAnError() async {
        let transport = FakeTransport { _ in .answer(200, xml: partsPage("", next: 0)) }
        let error = await #expect(throws: ObjectStorageError.self) {
            try await client(transport).listParts("k", uploadID: "id")
        }
        #expect(error?.code == .malformedAnswer)
        #expect(transport.requests.count == 1)
    }

    @Test func completionsErrorCountsAlthoughItsStatusIs200() async {
        let transport = FakeTransport(answers: [
            .answer(200, error: "InternalError"), .answer(200, error: "SomethingNew"), .answer(200),
        ])
        for code in [ObjectStorageError.Code.internalError, .other, .malformedAnswer] {
            let error = await #expect(throws: ObjectStorageError.self) {
                try await client(transport).completeMultipartUpload("k", uploadID: "id", parts: [])
            }
            #expect(error?.code == code && error?.isRetryable == true && error?.isOutcomeKnown == false)
        }
    }

    @Test func whatIsGoneAlreadyIsDeletedAndAborted() async throws {
        let transport = FakeTransport(answers: [
            .answer(204), .answer(404, error: "NoSuchUpload"), .answer(404, error: "NoSuchBucket"), .answer(204),
            .answer(404, error: "NoSuchKey"),
        ])
        let client = client(transport)
        try await client.abortMultipartUpload("k", uploadID: "id")
        try await client.abortMultipartUpload("k", uploadID: "id")
        let error = await #expect(throws: ObjectStorageError.self) {
            try await client.abortMultipartUpload("k", uploadID: "id")
        }
        #expect(error?.code == .noSuchBucket)
        try await client.deleteObject("k")
        try await client.deleteObject("k")
        #expect(transport.requests.allSatisfy { $0.method == .delete })
    }

    @Test func openUploadsAreListedPageByPage() async throws {
        let transport = FakeTransport(answers: [
            .answer(
                200,
                xml: """
                    <ListMultipartUploadsResult><Bucket>clips</Bucket><IsTruncated>true</IsTruncated>
                    <NextKeyMarker>videos/a&amp;b</NextKeyMarker><NextUploadIdMarker>u1</NextUploadIdMarker>
                    <Upload><Key>videos/a&amp;b</Key><UploadId>u1</UploadId>
                    <Initiator><ID>i</ID></Initiator><Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>
                    </ListMultipartUploadsResult>
                    """
            ),
            .answer(
                200,
                xml: """
                    <ListMultipartUploadsResult><IsTruncated>false</IsTruncated>
                    <Upload><Key>videos/c</Key><UploadId>u2</UploadId></Upload></ListMultipartUploadsResult>
                    """
            ),
        ])
        let uploads = try await client(transport).listMultipartUploads(prefix: "videos/")
        #expect(
            uploads == [
                MultipartUpload(
                    key: "videos/a&b",
                    uploadID: "u1",
                    initiated: Timestamp(rfc3339: "2026-01-02T03:04:05Z")
                ),
                MultipartUpload(key: "videos/c", uploadID: "u2"),
            ]
        )
        #expect(transport.requests[0].url.hasSuffix("/clips?max-uploads=1000&prefix=videos%2F&uploads="))
        #expect(transport.requests[1].url.hasSuffix("&key-marker=videos%2Fa%26b&upload-id-marker=u1"))
    }

    @Test func objectGoesToAFile() async throws {
        try await withTemporaryFolder { folder in
            let file = folder.appending(path: "object").path()
            let transport = FakeTransport(answers: [
                OutboundResponse(head: ResponseHead(status: 200), body: Array("abc".utf8)),
                .answer(404, error: "NoSuchKey"),
            ])
            let sink = FileSink(path: file) { $0.status == 200 ? .write(offset: 0) : .collect }
            let response = try await client(transport).getObject("k", sink: .file(sink))
            #expect(response.bytesWritten == 3)
            #expect(try await FileDigest.ofFile(file).sha256 == Self.payloadHash)
            let error = await #expect(throws: ObjectStorageError.self) {
                try await client(transport).getObject("k", sink: .file(sink))
            }
            #expect(error?.code == .noSuchKey)
        }
    }

    @Test func tagInACompletionCanNotBeginAnElement() async throws {
        let transport = FakeTransport(answers: [.answer(200, xml: "<R><ETag>tag</ETag></R>")])
        _ = try await client(transport).completeMultipartUpload(
            "k", uploadID: "id-1", parts: [CompletedPart(number: 1, etag: "a<\u{338}b&\u{338}")])
        let body = try #require(transport.requests.first).body.content()
        #expect(String(decoding: body, as: UTF8.self).contains("a&lt;\u{338}b&amp;\u{338}"))
    }

    /// Foundation's parser ends the program at these.
    @Test(arguments: [Array("<Error".utf8) + [0xFF, 0x3E], Array("<?x?><Error/>".utf8), Array("<a><?x?></a>".utf8)])
    func answerThatIsNoPlainXMLIsAnErrorByItsStatus(body: [UInt8]) async {
        let answer = OutboundResponse(head: ResponseHead(status: 503), body: body)
        let error = await #expect(throws: ObjectStorageError.self) {
            try await client(FakeTransport(answers: [answer])).listParts("k", uploadID: "id-1")
        }
        #expect(error?.code == .serviceUnavailable && error?.isRetryable == true)
    }

    private func client(_ transport: FakeTransport) -> S3Client { .forTests(transport) }

    private func partsPage(_ parts: String, next: Int?) -> String {
        """
        <?xml version="1.0" encoding="UTF-8"?>
        <ListPartsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>clips</Bucket><Key>k</Key>
        <UploadId>id-1</UploadId><MaxParts>1000</MaxParts><IsTruncated>\(next != nil)</IsTruncated>
        \(next.map { "<NextPartNumberMarker>\($0)</NextPartNumberMarker>" } ?? "")\(parts)</ListPartsResult>
        """
    }
}
