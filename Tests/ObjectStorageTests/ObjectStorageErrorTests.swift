// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import HTTPTypes
import ObjectStorage
import OutboundHTTP
import Testing

@Suite struct ObjectStorageErrorTests {
    @Test(
        arguments: [
            (500, "InternalError", true), (503, "ServiceUnavailable", true), (503, "SlowDown", true),
            (429, "TooManyRequests", true), (400, "ClientDisconnect", true), (400, "IncompleteBody", true),
            (400, "BadDigest", true), (408, "RequestTimeout", true), (400, "RequestTimeout", true),
            (409, "OperationAborted", true), (502, "Whatever", true),
            (401, "Unauthorized", false), (403, "AccessDenied", false), (403, "SignatureDoesNotMatch", false),
            (403, "InvalidAccessKeyId", false), (403, "NotEntitled", false), (404, "NoSuchBucket", false),
            (400, "InvalidBucketName", false), (412, "PreconditionFailed", false), (404, "NoSuchUpload", false),
            (400, "InvalidPart", false), (400, "EntityTooSmall", false), (400, "EntityTooLarge", false),
            (400, "MetadataTooLarge", false), (403, "ObjectLockedByBucketPolicy", false),
            (400, "ExpiredRequest", false), (411, "MissingContentLength", false), (501, "NotImplemented", false),
            (403, "RequestTimeTooSkewed", false), (400, "Whatever", false),
        ] as [(Int, String, Bool)]
    )
    func codeDecidesWhetherToTryAgain(status: Int, code: String, isRetryable: Bool) async {
        let error = await put(.answer(status, error: code))
        #expect(error.isRetryable == isRetryable)
        #expect(error.status == status)
        #expect(error.code == ObjectStorageError.Code(rawValue: code) ?? .other)
        #expect(error.isOutcomeKnown == (status < 500 || status == 501))
        #expect(error.message.contains(code))
        #expect(error.shortDescription == (code == "Whatever" ? "http_\(status)" : code))
        #expect(!error.message.contains("secret-of-the-test"))
    }

    @Test(
        arguments: [
            (401, .unauthorized), (403, .accessDenied), (404, .noSuchBucket), (408, .requestTimeout),
            (411, .missingContentLength), (412, .preconditionFailed), (429, .tooManyRequests), (500, .internalError),
            (501, .notImplemented), (503, .serviceUnavailable), (502, .other), (418, .other),
            (307, .permanentRedirect),
        ] as [(Int, ObjectStorageError.Code)]
    )
    func statusStandsInWhereThereIsNoCode(status: Int, code: ObjectStorageError.Code) async {
        #expect(await put(.answer(status)).code == code)
        let page = "<html><body>a proxy's own page</body></html>"
        #expect(await put(.answer(status, xml: page)).code == code)
    }

    @Test(arguments: ["AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "Unauthorized"])
    func refusedKeysAreNamedWithTheirSettings(code: String) async {
        let error = await put(.answer(403, headers: [HTTPField.Name("cf-ray")!: "8a1b-FRA"], error: code))
        #expect(
            error.message
                == "put of object \"videos/k.mp4\" was refused by https://storage.example/base, 403 \(code)"
                + " (\"the storage says why\"): check that R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY belong together"
                + " and may read and write bucket \"clips\"; cf-ray 8a1b-FRA"
        )
        #expect(error.requestID == "cf-ray 8a1b-FRA")
    }

    @Test func wrongClockIsNamedWithBothTimes() async {
        let error = await put(
            .answer(403, headers: [.date: "Tue, 14 Nov 2023 23:13:20 GMT"], error: "RequestTimeTooSkewed")
        )
        #expect(error.message.contains("this machine's clock says 2023-11-14T22:13:20"))
        #expect(error.message.contains("the storage's says Tue, 14 Nov 2023 23:13:20 GMT"))
    }

    @Test(
        arguments: [
            ("7", .seconds(7)), ("Tue, 14 Nov 2023 22:13:50 GMT", .seconds(30)),
            ("Tue, 14 Nov 2023 22:00:00 GMT", .zero), ("99999999999", .seconds(86_400)), ("soon", nil), ("-1", nil),
        ] as [(String, Duration?)]
    )
    func retryAfterIsSecondsOrADate(text: String, expected: Duration?) async {
        let error = await put(.answer(503, headers: [.retryAfter: text], error: "SlowDown"))
        #expect(error.retryAfter == expected)
    }

    @Test func transfersErrorIsKeptWithItsAnswers() async {
        for code in TransferError.Code.allCases {
            let cause = TransferError(code: code, message: "connection to \"storage.example\" broke", bytesSent: 5)
            let transport = FakeTransport { _ throws(TransferError) in throw cause }
            let error = await #expect(throws: ObjectStorageError.self) {
                try await S3Client.forTests(transport).headBucket()
            }
            #expect(error?.code == .transfer && error?.transferError?.code == code)
            #expect(error?.isRetryable == cause.isRetryable && error?.isOutcomeKnown == cause.isOutcomeKnown)
            #expect(error?.isCancellation == (code == .cancelled))
            #expect(error?.shortDescription == code.rawValue)
            #expect(
                error?.message
                    == "look at bucket \"clips\" got no answer: connection to \"storage.example\" broke"
            )
        }
    }

    @Test func longAndOddTextsAreCutAndCleaned() async {
        let message = "line one\nline two " + String(repeating: "x", count: 5000)
        let error = await put(.answer(400, error: "InvalidRequest", message: message))
        #expect(!error.message.contains("\n") && error.message.contains("line one line two"))
        #expect(error.message.count < 600)
    }

    @Test func answersThatAreTooLargeAreCutOff() async {
        let error = await put(.answer(500, xml: String(repeating: "x", count: 2 << 20)))
        #expect(error.transferError?.code == .bodyTooLarge)
    }

    private func put(_ answer: OutboundResponse) async -> ObjectStorageError {
        let client = S3Client.forTests(FakeTransport(answers: [answer]))
        do throws(ObjectStorageError) {
            _ = try await client.putObject(
                "videos/k.mp4",
                body: .bytes([]),
                payloadHash: SignatureV4.emptyPayloadHash
            )
        } catch {
            return error
        }
        Issue.record("the answer was taken for a success")
        return ObjectStorageError(code: .other, message: "")
    }
}
