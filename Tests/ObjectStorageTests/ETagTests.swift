// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ObjectStorage
import Testing

@Suite struct ETagTests {
    /// Cloudflare's example, https://developers.cloudflare.com/r2/objects/multipart-objects/#etags
    @Test func documentedMultipartExampleIsReproduced() {
        let parts = ["bce6bf66aeb76c7040fdd5f4eccb78e6", "\"8165449fc15bbf43d3b674595cbcc406\""]
        #expect(ETag.ofParts(parts) == "f77dc0eecdebcd774a2a22cb393ad2ff-2")
    }

    @Test(arguments: [[], [""], ["abc"], ["bce6bf66aeb76c7040fdd5f4eccb78e6-1"], ["zce6bf66aeb76c7040fdd5f4eccb78e6"]])
    func whatIsNoMD5HasNoTag(parts: [String]) {
        #expect(ETag.ofParts(parts) == nil)
    }

    @Test func singlePutsTagIsTheMD5() {
        #expect(FileDigest(of: []).md5 == "d41d8cd98f00b204e9800998ecf8427e")
        #expect(FileDigest(of: Array("abc".utf8)).md5 == "900150983cd24fb0d6963f7d28e17f72")
    }

    @Test func quotesWeaknessAndCaseDoNotMatter() {
        #expect(ETag.isSame("\"900150983cd24fb0d6963f7d28e17f72\"", "900150983CD24FB0D6963F7D28E17F72"))
        #expect(ETag.isSame("W/\"a-2\"", "\"a-2\""))
        #expect(!ETag.isSame("a-2", "a-3"))
        #expect(ETag.unquoted("\"") == "\"")
        #expect(ETag.unquoted("\"\"") == "")
        #expect(ETag.unquoted("\"\u{338}a\"") == "\u{338}a")
    }
}
