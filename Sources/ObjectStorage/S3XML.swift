// clipbridge
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import XMLCoder

/// The XML that S3 speaks, as far as it is needed here.
enum S3XML {
    struct ErrorBody: Decodable {
        var code: String?
        var message: String?
        var requestID: String?

        enum CodingKeys: String, CodingKey {
            case code = "Code"
            case message = "Message"
            case requestID = "RequestId"
        }
    }

    struct InitiateResult: Decodable {
        var uploadID: String

        enum CodingKeys: String, CodingKey { case uploadID = "UploadId" }
    }

    /// Of a completion, which may be an error although its status is 200; then there is a code.
    struct CompleteResult: Decodable {
        var etag: String?
        var code: String?

        enum CodingKeys: String, CodingKey {
            case etag = "ETag"
            case code = "Code"
        }
    }

    struct ListPartsResult: Decodable {
        struct Part: Decodable {
            var number: Int
            var size: UInt64
            var etag: String

            enum CodingKeys: String, CodingKey {
                case number = "PartNumber"
                case size = "Size"
                case etag = "ETag"
            }
        }

        var parts: [Part]?
        var isTruncated: Bool?
        var nextPartNumberMarker: Int?

        enum CodingKeys: String, CodingKey {
            case parts = "Part"
            case isTruncated = "IsTruncated"
            case nextPartNumberMarker = "NextPartNumberMarker"
        }
    }

    struct ListUploadsResult: Decodable {
        struct Upload: Decodable {
            var key: String
            var uploadID: String
            var initiated: String?

            enum CodingKeys: String, CodingKey {
                case key = "Key"
                case uploadID = "UploadId"
                case initiated = "Initiated"
            }
        }

        var uploads: [Upload]?
        var isTruncated: Bool?
        var nextKeyMarker: String?
        var nextUploadIDMarker: String?

        enum CodingKeys: String, CodingKey {
            case uploads = "Upload"
            case isTruncated = "IsTruncated"
            case nextKeyMarker = "NextKeyMarker"
            case nextUploadIDMarker = "NextUploadIdMarker"
        }
    }

    /// Nil where the bytes are no such document.
    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) -> Value? {
        // S3 keeps a slow completion's connection alive with blanks, which no XML declaration may follow.
        let blanks: Set<UInt8> = [0x20, 0x09, 0x0A, 0x0D]
        let document = bytes.drop { blanks.contains($0) }
        guard document.first == UInt8(ascii: "<"), isPlain(document) else { return nil }
        return try? XMLDecoder().decode(type, from: Data(document))
    }

    /// Whether the document is elements and text in UTF-8, behind a declaration or without one.
    ///
    /// The storage sends nothing else, and Foundation's parser ends the program at some of the rest: at a name that is
    /// not UTF-8, and at a processing instruction without content.
    private static func isPlain(_ document: ArraySlice<UInt8>) -> Bool {
        guard String(validating: document, as: UTF8.self) != nil else { return false }
        let declaration = Array("<?xml ".utf8)
        let rest = document.starts(with: declaration) ? document.dropFirst(declaration.count) : document
        return !zip(rest, rest.dropFirst()).contains { first, second in
            first == UInt8(ascii: "<") && (second == UInt8(ascii: "?") || second == UInt8(ascii: "!"))
        }
    }

    static func completion(of parts: [CompletedPart]) -> [UInt8] {
        let lines = parts.sorted { $0.number < $1.number }.map { part in
            "<Part><PartNumber>\(part.number)</PartNumber>"
                + "<ETag>&quot;\(escaped(ETag.unquoted(part.etag)))&quot;</ETag></Part>"
        }
        let text =
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\(lines.joined())"
            + "</CompleteMultipartUpload>"
        return Array(text.utf8)
    }

    private static func escaped(_ text: String) -> String {
        // By scalars: with a combining mark behind it "<" is another character, but begins a tag all the same.
        text.unicodeScalars.map { scalar in
            switch scalar {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "\"": "&quot;"
            default: String(scalar)
            }
        }.joined()
    }
}
