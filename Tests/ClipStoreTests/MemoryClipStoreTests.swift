// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipStore
import Testing

@Suite struct MemoryClipStoreTests {
    @Test(arguments: ClipStoreConformance.Case.allCases)
    func conforms(_ name: ClipStoreConformance.Case) async throws {
        try await ClipStoreConformance.run(name, on: MemoryClipStore())
    }
}

@Suite struct SQLNameTests {
    @Test(arguments: [
        ("clips", ["clips"]), ("app.clips", ["app", "clips"]), ("\"My Clips\"", ["My Clips"]),
        ("app.\"a\"\"b\"", ["app", "a\"b"]), ("_x$1", ["_x$1"]),
    ])
    func legalNamesAreTaken(_ text: String, _ parts: [String]) throws {
        let name = try #require(SQLName(text))
        #expect(name.parts == parts)
        #expect(name.sql == text)
    }

    @Test(arguments: ["", "1a", "a b", "a;b", "\"", "\"\"", "\"a", "a.", ".a", "a.b.c.d", "a--", "$a", "a'"])
    func anythingElseIsRefused(_ text: String) {
        #expect(SQLName(text) == nil)
    }
}
