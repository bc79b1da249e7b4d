// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CurlTransport

@Suite struct AddressRulesTests {
    @Test(
        arguments: [
            [8, 8, 8, 8], [1, 1, 1, 1], [9, 255, 255, 255], [11, 0, 0, 0], [100, 63, 255, 255], [100, 128, 0, 0],
            [126, 255, 255, 255], [128, 0, 0, 1], [169, 253, 255, 255], [169, 255, 0, 0], [172, 15, 255, 255],
            [172, 32, 0, 0], [192, 0, 1, 0], [192, 0, 3, 0], [192, 167, 255, 255], [192, 169, 0, 0],
            [198, 17, 255, 255], [198, 20, 0, 0], [203, 0, 112, 255], [203, 0, 114, 0], [223, 255, 255, 255],
        ] as [[UInt8]]
    )
    func publicV4IsTaken(_ address: [UInt8]) {
        #expect(AddressRules.isPublic(address))
        #expect(AddressRules.isPublic(mapped + address))
        #expect(AddressRules.isPublic(nat64 + address))
    }

    @Test(
        arguments: [
            [0, 0, 0, 0], [0, 1, 2, 3], [10, 0, 0, 1], [10, 255, 255, 255], [100, 64, 0, 0], [100, 127, 255, 255],
            [127, 0, 0, 1], [127, 255, 255, 255], [169, 254, 169, 254], [172, 16, 0, 0], [172, 31, 255, 255],
            [192, 0, 0, 1], [192, 0, 2, 1], [192, 88, 99, 1], [192, 168, 0, 1], [192, 168, 255, 255], [198, 18, 0, 0],
            [198, 19, 255, 255], [198, 51, 100, 7], [203, 0, 113, 9], [224, 0, 0, 1], [239, 255, 255, 255],
            [240, 0, 0, 1], [255, 255, 255, 255],
        ] as [[UInt8]]
    )
    func specialV4IsRefusedInEveryForm(_ address: [UInt8]) {
        #expect(!AddressRules.isPublic(address))
        #expect(!AddressRules.isPublic(mapped + address))
        #expect(!AddressRules.isPublic(nat64 + address))
        #expect(!AddressRules.isPublic([0x20, 0x02] + address + Array(repeating: 0, count: 10)))
    }

    @Test(arguments: [
        "2606:4700:0:0:0:0:0:1111", "2001:4860:4860:0:0:0:0:8888", "2a00:1450:0:0:0:0:0:1",
        "2001:200:0:0:0:0:0:1", "2002:808:808:0:0:0:0:1", "3fff:1000:0:0:0:0:0:1",
    ])
    func publicV6IsTaken(_ text: String) {
        #expect(AddressRules.isPublic(bytes(text)))
    }

    @Test(arguments: [
        "0:0:0:0:0:0:0:0", "0:0:0:0:0:0:0:1", "0:0:0:0:0:0:808:808", "fc00:0:0:0:0:0:0:1", "fdff:0:0:0:0:0:0:1",
        "fe80:0:0:0:0:0:0:1", "febf:0:0:0:0:0:0:1", "fec0:0:0:0:0:0:0:1", "ff02:0:0:0:0:0:0:1",
        "2001:0:0:0:0:0:0:1", "2001:2:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:1", "3fff:0:0:0:0:0:0:1",
        "64:ff9b:1:0:0:0:808:808", "100:0:0:0:0:0:0:1", "4000:0:0:0:0:0:0:1", "5f00:0:0:0:0:0:0:1",
    ])
    func specialV6IsRefused(_ text: String) {
        #expect(!AddressRules.isPublic(bytes(text)))
    }

    @Test(arguments: [0, 3, 5, 15, 17])
    func otherLengthsAreRefused(_ count: Int) {
        #expect(!AddressRules.isPublic(Array(repeating: 8, count: count)))
    }

    private let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
    private let nat64: [UInt8] = [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]

    /// Of an address with all its eight groups.
    private func bytes(_ text: String) -> [UInt8] {
        text.split(separator: ":").flatMap { group in
            let value = UInt16(group, radix: 16)!
            return [UInt8(value >> 8), UInt8(value & 0xFF)]
        }
    }
}
