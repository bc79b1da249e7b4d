// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials
import HTTPTypes
import OutboundHTTP
import Testing

@testable import Sandbox

@Suite struct S3Tests {
    private let five = [UInt8](repeating: 5, count: 5 << 20)

    @Test func objectsAndUploadsOutliveTheProcess() async throws {
        let folder = try TemporaryFolder()
        try await TestSandbox.run(folder: folder.path) { sandbox in
            var headers: HTTPFields = [.contentType: "video/mp4"]
            headers[try #require(HTTPField.Name("x-amz-meta-uid"))] = "abc"
            #expect(try await sandbox.s3(.put, "/whole", Array("hello".utf8), headers: headers).status == 200)
            let id = try await self.start(sandbox, "/parts")
            _ = try await sandbox.s3(.put, "/parts?partNumber=1&uploadId=\(id)", self.five)
            try Data(id.utf8).write(to: URL(filePath: "\(folder.path)/id"))
            // As a process leaves it that is killed in the middle of a PUT.
            try Data("half".utf8).write(to: URL(filePath: "\(folder.path)/r2/clips/data/half"))
        }
        try await TestSandbox.run(folder: folder.path) { sandbox in
            let whole = try await sandbox.s3(.get, "/whole")
            #expect(whole.text == "hello")
            #expect(whole.head.headers[.contentType] == "video/mp4")
            #expect(whole.head.headers[try #require(HTTPField.Name("x-amz-meta-uid"))] == "abc")
            let id = String(decoding: try Data(contentsOf: URL(filePath: "\(folder.path)/id")), as: UTF8.self)
            let second = try await sandbox.s3(.put, "/parts?partNumber=2&uploadId=\(id)", [1, 2, 3])
            let parts = try await sandbox.s3(.get, "/parts?uploadId=\(id)")
            let first = try #require(parts.between("<ETag>", "</ETag>"))
            let done = try await self.complete(
                sandbox, "/parts", id, [(1, first), (2, second.head.headers[.eTag] ?? "")])
            #expect(done.status == 200)
            #expect(!DataFolder.exists("\(folder.path)/r2/clips/data/half"))
        }
        try await TestSandbox.run(folder: folder.path) { sandbox in
            let parts = try await sandbox.s3(.get, "/parts")
            #expect(parts.body == self.five + [1, 2, 3])
            #expect(parts.head.headers[.eTag]?.hasSuffix("-2\"") == true)
            #expect(try await sandbox.s3(.delete, "/parts").status == 204)
            #expect(DataFolder.names(in: "\(folder.path)/r2/clips/uploads").isEmpty)
        }
    }

    private func start(_ sandbox: TestSandbox, _ path: String) async throws -> String {
        let answer = try await sandbox.s3(.post, "\(path)?uploads", [])
        return try #require(answer.between("<UploadId>", "</UploadId>"))
    }

    private func complete(
        _ sandbox: TestSandbox, _ path: String, _ id: String, _ parts: [(Int, String)]
    ) async throws -> OutboundResponse {
        let list = parts.map { "<Part><PartNumber>\($0.0)</PartNumber><ETag>\($0.1)</ETag></Part>" }.joined()
        let body = "<CompleteMultipartUpload>\(list)</CompleteMultipartUpload>"
        return try await sandbox.s3(.post, "\(path)?uploadId=\(id)", Array(body.utf8))
    }

    @Test func onlyOneOfManyWritersIsTheFirst() async throws {
        try await TestSandbox.run { sandbox in
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<16 {
                    group.addTask {
                        try await sandbox.s3(.put, "/one", [UInt8(number)], headers: [.ifNoneMatch: "*"]).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.sorted() == [200] + Array(repeating: 412, count: 15))
            #expect(DataFolder.names(in: "\(sandbox.folder)/r2/clips/data").count == 1)
        }
    }

    @Test func onlyOneOfManyCompletionsCounts() async throws {
        try await TestSandbox.run { sandbox in
            let id = try await self.start(sandbox, "/k")
            let etag = try await sandbox.s3(.put, "/k?partNumber=1&uploadId=\(id)", [1]).head.headers[.eTag] ?? ""
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 { group.addTask { try await self.complete(sandbox, "/k", id, [(1, etag)]).status } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.sorted() == [200] + Array(repeating: 404, count: 7))
            #expect(try await sandbox.s3(.get, "/k").body == [1])
        }
    }

    @Test(arguments: ["/..", "/a/../../b", "/a//b", "/%2e%2e/x", "/dir/", "/%C3%A9", "/e%CC%81", "/%20", "//x"])
    func noKeyLeavesTheBucket(_ path: String) async throws {
        try await TestSandbox.run { sandbox in
            // A client of our own, for others take dots out of paths.
            let body = Array(path.utf8)
            let signed = try await sandbox.rawS3("PUT", path, body)
            #expect(signed.hasPrefix("HTTP/1.1 200"), "\(signed)")
            let got = try await sandbox.rawS3("GET", path, [])
            #expect(got.hasPrefix("HTTP/1.1 200") && got.hasSuffix(path), "\(got)")
            #expect(Set(DataFolder.names(in: sandbox.folder)) == ["r2", "sources"])
            #expect(DataFolder.names(in: "\(sandbox.folder)/r2/clips/objects").count == 1)
        }
    }

    @Test func aClockThatIsFarOffIsRefused() async throws {
        try await TestSandbox.run { sandbox in
            let now = sandbox.clock.now()
            for seconds in [-1000, 1000] as [Int64] {
                let answer = try await sandbox.s3(.get, "/a", time: now + .seconds(seconds))
                #expect(answer.status == 403)
                #expect(answer.s3Code == "RequestTimeTooSkewed")
            }
            #expect(try await sandbox.s3(.get, "/a", time: now + .seconds(600)).s3Code == "NoSuchKey")
            #expect(try await sandbox.s3(.get, "/a", secret: "wrong").s3Code == "SignatureDoesNotMatch")
        }
    }

    @Test func aBodyMustBeWhatWasSigned() async throws {
        try await TestSandbox.run { sandbox in
            let other = String(repeating: "0", count: 64)
            #expect(try await sandbox.s3(.put, "/a", [1], payloadHash: other).s3Code == "XAmzContentSHA256Mismatch")
            #expect(try await sandbox.s3(.put, "/a", [1], payloadHash: "UNSIGNED-PAYLOAD").status == 200)
            let streaming = try await sandbox.s3(.put, "/a", [1], payloadHash: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
            #expect(streaming.status == 501)
            #expect(streaming.s3Code == "NotImplemented")
            #expect(try await sandbox.s3(.get, "/a").body == [1], "a refused PUT changes nothing")
            #expect(DataFolder.names(in: "\(sandbox.folder)/r2/clips/data").count == 1)
        }
    }

    @Test func aShortBodyIsIncomplete() async throws {
        try await TestSandbox.run { sandbox in
            let answer = try await sandbox.rawS3("PUT", "/short", Array("12345".utf8), announced: 10)
            #expect(answer.hasPrefix("HTTP/1.1 400"), "\(answer)")
            #expect(answer.contains("<Code>IncompleteBody</Code>"), "\(answer)")
            #expect(try await sandbox.s3(.head, "/short").status == 404)
        }
    }

    @Test func thePublicURLOnlyReads() async throws {
        try await TestSandbox.run { sandbox in
            _ = try await sandbox.s3(.put, "/v/a%20b.mp4", Array("public".utf8))
            let url = "\(sandbox.settings.publicURL)/v/a%20b.mp4"
            #expect(try await sandbox.get(url).text == "public")
            #expect(try await sandbox.get(url, headers: [.range: "bytes=0-2"]).text == "pub")
            #expect(try await sandbox.get(url, .head).head.contentLength == 6)
            #expect(try await sandbox.get(url, .put).status == 405)
            #expect(try await sandbox.get(url + "x").status == 404)
        }
    }
}
