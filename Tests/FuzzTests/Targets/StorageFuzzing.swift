// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials
import OutboundHTTP

@testable import ObjectStorage

/// An answer of the storage is read, or it is an error that can be shown; parts that were read can be named again.
enum StorageFuzzing {
    private static let configuration = S3Configuration(
        endpoint: "https://storage.example", bucket: "clips",
        credentials: StorageCredentials(accessKeyID: "key", secretAccessKey: "a-secret-of-the-test"))

    static func run(_ bytes: [UInt8]) throws(BrokenPromise) -> Bool {
        let answer = OutboundResponse(fuzzed: bytes)
        try checkError(answer)
        let parts = S3XML.decode(S3XML.ListPartsResult.self, from: answer.body)?.parts
        if let parts { try checkCompletion(parts.map { CompletedPart(number: $0.number, etag: $0.etag) }) }
        let uploads = S3XML.decode(S3XML.ListUploadsResult.self, from: answer.body)?.uploads
        for time in (uploads ?? []).compactMap(\.initiated).compactMap(Timestamp.init(rfc3339:)) {
            try promise(Timestamp(rfc3339: time.rfc3339) == time, "a time that is no time: \(time)")
        }
        let begun = S3XML.decode(S3XML.InitiateResult.self, from: answer.body)
        let completed = S3XML.decode(S3XML.CompleteResult.self, from: answer.body)
        return parts != nil || uploads != nil || begun != nil || completed?.etag != nil
    }

    private static func checkError(_ answer: OutboundResponse) throws(BrokenPromise) {
        let error = ErrorAnswer(
            operation: "put of object \"k\"", configuration: configuration, response: answer, notFound: .noSuchKey,
            now: Timestamp(seconds: 1_800_000_000)
        ).error()
        try promiseOneLine(error.message, bytesMax: 8_192)
        try promise(!error.message.contains("a-secret-of-the-test"), "the message holds a secret: \(error.message)")
        try promise(error.status == answer.status, "the error's status is \(error.status ?? 0)")
        try promise(
            error.retryAfter.map { (.zero...Duration.seconds(86_400)).contains($0) } ?? true,
            "it is tried again after \(error.retryAfter ?? .zero)")
    }

    private struct Completion: Decodable {
        struct Part: Decodable {
            var number: Int
            var etag: String

            enum CodingKeys: String, CodingKey {
                case number = "PartNumber"
                case etag = "ETag"
            }
        }

        var parts: [Part]

        enum CodingKeys: String, CodingKey { case parts = "Part" }
    }

    /// Whatever a tag is made of, the storage gets it back as it gave it. The decoder drops blanks that stand alone, so
    /// tags with blanks, which no storage has, are left out.
    private static func checkCompletion(_ parts: [CompletedPart]) throws(BrokenPromise) {
        let hasBlanks = parts.contains { $0.etag.unicodeScalars.contains(where: \.properties.isWhitespace) }
        guard !parts.isEmpty, !hasBlanks else { return }
        let body = S3XML.completion(of: parts)
        let read = S3XML.decode(Completion.self, from: body)?.parts.map {
            CompletedPart(number: $0.number, etag: ETag.unquoted($0.etag))
        }
        let sent = parts.map { CompletedPart(number: $0.number, etag: ETag.unquoted($0.etag)) }
        try promise(
            read?.sorted { ($0.number, $0.etag) < ($1.number, $1.etag) }
                == sent.sorted { ($0.number, $0.etag) < ($1.number, $1.etag) },
            "the completion is read as others: \(String(decoding: body, as: UTF8.self))")
    }
}
