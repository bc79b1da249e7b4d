// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import ObjectStorage
import Testing

@Suite struct FileDigestTests {
    private static func bytes(_ count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: UInt64(count))
        return (0..<count).map { _ in .random(in: 0...255, using: &generator) }
    }

    @Test func wholeFileHasThePublishedHashes() async throws {
        try await withTemporaryFolder { folder in
            let file = folder.appending(path: "file")
            try Data("abc".utf8).write(to: file)
            let digest = try await FileDigest.ofFile(file.path())
            #expect(digest.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
            #expect(digest.md5 == "900150983cd24fb0d6963f7d28e17f72")
            #expect(digest.length == 3)
        }
    }

    @Test(arguments: [(0, 0), (0, 1), (5, 1_048_576), (1_048_575, 1_048_578), (7, 2_500_000)])
    func rangeHasTheHashesOfItsBytes(offset: Int, length: Int) async throws {
        try await withTemporaryFolder { folder in
            let file = folder.appending(path: "file")
            let bytes = Self.bytes(2_600_000)
            try Data(bytes).write(to: file)
            let digest = try await FileDigest.ofFile(file.path(), offset: UInt64(offset), length: UInt64(length))
            #expect(digest == FileDigest(of: Array(bytes[offset..<(offset + length)])))
        }
    }

    @Test func rangeBeyondTheEndThrows() async throws {
        try await withTemporaryFolder { folder in
            let file = folder.appending(path: "file")
            try Data(Self.bytes(10)).write(to: file)
            let error = await #expect(throws: ObjectStorageError.self) {
                try await FileDigest.ofFile(file.path(), offset: 5, length: 6)
            }
            #expect(error?.code == .file && error?.isRetryable == false)
            #expect(error?.message.contains("1 bytes before") == true)
        }
    }

    @Test func missingFileThrows() async throws {
        let error = await #expect(throws: ObjectStorageError.self) { try await FileDigest.ofFile("/nonexistent/file") }
        #expect(error?.code == .file)
    }

    @Test func cancelledTaskStopsHashing() async throws {
        // The device never ends, so only the cancellation can end this.
        let task = Task { try await FileDigest.ofFile("/dev/zero") }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }
}
