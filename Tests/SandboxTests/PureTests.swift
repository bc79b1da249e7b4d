// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOCore
import Testing

@testable import Sandbox

@Suite struct ByteRangeTests {
    @Test(
        arguments: [
            (nil, .whole), ("bytes=0-0", .part(offset: 0, length: 1)), ("bytes=10-19", .part(offset: 10, length: 10)),
            ("bytes=90-", .part(offset: 90, length: 10)), ("bytes=90-1000", .part(offset: 90, length: 10)),
            ("bytes=-5", .part(offset: 95, length: 5)), ("bytes=-500", .part(offset: 0, length: 100)),
            ("bytes=100-", .unsatisfiable), ("bytes=200-300", .unsatisfiable), ("bytes=-0", .unsatisfiable),
            ("bytes=5-4", .whole), ("bytes=0-1,5-6", .whole), ("items=0-1", .whole), ("bytes=a-b", .whole),
            ("bytes=-", .whole), ("bytes=1-2-3", .whole),
        ] as [(String?, ByteRange)])
    func aRangeOfHundredBytesIsRead(_ header: String?, _ range: ByteRange) {
        #expect(ByteRange(header: header, size: 100) == range)
    }

    @Test func nothingCanBeAskedOfAnEmptyBody() {
        #expect(ByteRange(header: "bytes=0-", size: 0) == .unsatisfiable)
        #expect(ByteRange(header: nil, size: 0) == .whole)
    }

    @Test func slicesAreCutAcrossFiles() {
        let slices = [FileSlice(path: "a", offset: 0, length: 10), FileSlice(path: "b", offset: 5, length: 10)]
        #expect(
            slices.part(offset: 8, length: 4)
                == [FileSlice(path: "a", offset: 8, length: 2), FileSlice(path: "b", offset: 5, length: 2)])
        #expect(slices.part(offset: 12, length: 100) == [FileSlice(path: "b", offset: 7, length: 8)])
        #expect(slices.part(offset: 20, length: 1).isEmpty)
    }
}

@Suite struct S3ListingTests {
    private let keys = ["a/1", "a/2", "b/1", "c", "d/1"].map(ObjectKey.init)

    private func page(
        _ prefix: String = "", delimiter: String? = nil, after: String? = nil, max: Int = 1000
    ) -> S3Listing {
        S3Listing(
            of: keys, prefix: ObjectKey(prefix), delimiter: delimiter.map(ObjectKey.init),
            after: after.map(ObjectKey.init), entriesMax: max)
    }

    @Test func keysAreGroupedByDelimiter() {
        let page = page(delimiter: "/")
        #expect(
            page.entries == [
                .commonPrefix(ObjectKey("a/")), .commonPrefix(ObjectKey("b/")), .key(ObjectKey("c")),
                .commonPrefix(ObjectKey("d/")),
            ])
        #expect(page.next == nil)
    }

    @Test(arguments: [nil, "/"]) func pagesOfOneMakeTheWhole(_ delimiter: String?) {
        var entries: [S3Listing.Entry] = []
        var after: String?
        repeat {
            let page = page(delimiter: delimiter, after: after, max: 1)
            entries += page.entries
            after = page.next?.text
        } while after != nil
        #expect(entries == page(delimiter: delimiter).entries)
    }

    @Test func aPrefixNarrows() {
        #expect(page("a/", delimiter: "/").entries == [.key(ObjectKey("a/1")), .key(ObjectKey("a/2"))])
        #expect(page("a/", after: "a/1").entries == [.key(ObjectKey("a/2"))])
        #expect(page("x").entries.isEmpty)
        #expect(page(max: 0).entries.isEmpty)
        #expect(page(max: 0).next == nil)
    }

    @Test func keysAreBytesAndNotUnicode() {
        #expect(ObjectKey("\u{E9}") != ObjectKey("e\u{301}"))
        #expect(ObjectKey("Z") < ObjectKey("a"))
        #expect(ObjectKey("\u{FFFD}") < ObjectKey("\u{10000}"))
    }
}

@Suite struct MultipartUploadTests {
    private func upload(_ sizes: [UInt64]) -> (MultipartUpload, [S3Body.Completion.Part]) {
        var upload = MultipartUpload(id: "i", key: "k", created: Timestamp(seconds: 0), attributes: ObjectAttributes())
        for (index, size) in sizes.enumerated() {
            upload.parts[index + 1] = MultipartUpload.Part(
                number: index + 1, etag: "e\(index + 1)", size: size, file: "f\(index + 1)",
                lastModified: Timestamp(seconds: 0))
        }
        return (upload, upload.sortedParts.map { S3Body.Completion.Part(number: $0.number, etag: "\"\($0.etag)\"") })
    }

    @Test(
        arguments: [
            ([1], nil), ([0], nil), ([5 << 20, 1], nil), ([5 << 20, 5 << 20], nil), ([6 << 20, 6 << 20, 5], nil),
            ([5 << 20, 6 << 20], .unequalParts), ([6 << 20, 5 << 20, 1], .unequalParts),
            ([1, 1], .entityTooSmall), ([(5 << 20) - 1, 1], .entityTooSmall),
        ] as [([UInt64], S3Error?)])
    func sizesFollowR2sRules(_ sizes: [UInt64], _ error: S3Error?) {
        let (upload, named) = upload(sizes)
        if let error {
            #expect(throws: error) { try upload.chosen(named) }
        } else {
            #expect((try? upload.chosen(named.reversed()))?.count == sizes.count)
        }
    }

    @Test func whatIsNamedMustBeThere() {
        let (upload, named) = upload([5 << 20, 1])
        #expect(throws: S3Error.malformedXML) { try upload.chosen([]) }
        #expect(throws: S3Error.invalidPart) { try upload.chosen(named + [named[0]]) }
        #expect(throws: S3Error.invalidPart) { try upload.chosen([.init(number: 3, etag: "e3")]) }
        #expect(throws: S3Error.invalidPart) { try upload.chosen([.init(number: 1, etag: "e2")]) }
    }

    /// The example in Cloudflare's documentation.
    @Test func theEntityTagIsAsDocumented() {
        let parts = ["bce6bf66aeb76c7040fdd5f4eccb78e6", "8165449fc15bbf43d3b674595cbcc406"].enumerated().map {
            MultipartUpload.Part(
                number: $0.offset + 1, etag: $0.element, size: 1, file: "", lastModified: Timestamp(seconds: 0))
        }
        #expect(MultipartUpload.etag(of: parts) == "f77dc0eecdebcd774a2a22cb393ad2ff-2")
    }
}

@Suite struct SmallPartsTests {
    @Test func entityTagsMatch() {
        #expect(EntityTag.matches("*", "a"))
        #expect(EntityTag.matches("\"b\", W/\"a\"", "a"))
        #expect(EntityTag.matches("a", "a"))
        #expect(!EntityTag.matches("\"ab\"", "a"))
        #expect(!EntityTag.matches("*", nil))
    }

    @Test(
        arguments: [
            ("100000", 100_000), ("5MB", 5_000_000), ("5M", 5_000_000), ("5MiB", 5 << 20), ("1.5k", 1500),
            ("2GiB", 2 << 30),
            ("0", 0), ("", nil), ("MB", nil), ("5 MB", nil), ("-5", nil), ("5PB", nil), ("99999999GiB", nil),
            ("1e3", nil),
        ] as [(String, UInt64?)])
    func sizesAreRead(_ text: String, _ bytes: UInt64?) {
        #expect(ByteSize(text)?.bytes == bytes)
    }

    @Test func theChecksumIsTheKnownOne() {
        var crc32 = CRC32()
        crc32.update(Array("12345".utf8))
        crc32.update(Array("6789".utf8))
        #expect(crc32.value == 0xCBF4_3926)
    }

    /// The vector in the project's notes on Cloudflare, which follow the documented scheme.
    @Test func theWebhookSignatureIsTheKnownOne() {
        let signature = WebhookSender.signature(
            of: Array(#"{"uid":"dd5d531a12de0c724bd1275a3b2bc9c6"}"#.utf8), time: 1_230_811_200,
            secret: "85011ed3a913c6ad5f9cf6c5573cc0a7")
        #expect(
            signature
                == "time=1230811200,sig1=5061760e9842c60a4f9541fde1993b850196ed33b70a8f9b4f86bacf45b91a86")
    }

    @Test(arguments: [1, 39, 40, 65_536, 65_537, 300_000] as [UInt64])
    func sampleMediaHasItsSizeAndFollowsFromTheUID(_ size: UInt64) async {
        func bytes(_ uid: String) async -> [UInt8] {
            var all: [UInt8] = []
            for await chunk in SampleMedia(bytes: size, uid: uid) { all += Array(chunk.readableBytesView) }
            return all
        }
        let first = await bytes("a")
        #expect(first.count == Int(size))
        #expect(await bytes("a") == first)
        if size > 40 {
            #expect(await bytes("b") != first)
            #expect(first[4..<8].elementsEqual("ftyp".utf8))
        }
    }
}
