// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ObjectStorage
import Testing

@Suite struct PartPlanTests {
    private static let mebibyte: UInt64 = 1 << 20

    @Test(arguments: [0, 1, 16 << 20] as [UInt64])
    func upToOnePartIsASinglePut(bytes: UInt64) {
        let plan = PartPlan(objectBytes: bytes, partBytes: 16 << 20)
        #expect(plan.isSinglePut && plan.count == 1)
        #expect(plan.parts == [PartPlan.Part(number: 1, offset: 0, length: bytes)])
    }

    @Test func oneByteMoreMakesTwoParts() {
        let plan = PartPlan(objectBytes: (16 << 20) + 1, partBytes: 16 << 20)
        #expect(!plan.isSinglePut)
        #expect(
            plan.parts == [
                PartPlan.Part(number: 1, offset: 0, length: 16 << 20),
                PartPlan.Part(number: 2, offset: 16 << 20, length: 1),
            ]
        )
    }

    @Test func partsAreNeverSmallerThanS3Allows() {
        let plan = PartPlan(objectBytes: 12 << 20, partBytes: 1)
        #expect(plan.partBytes == 5 << 20)
        #expect(plan.parts.map(\.length) == [5 << 20, 5 << 20, 2 << 20])
    }

    @Test func partsAreNeverLargerThanOneRequestTakes() {
        let plan = PartPlan(objectBytes: 20 << 30, partBytes: .max)
        #expect(plan.partBytes == PartPlan.partBytesMax)
        #expect(plan.count == 5)
    }

    @Test func partSizeGrowsWhereTenThousandWouldNotDo() {
        let fits = PartPlan(objectBytes: 10_000 * (16 << 20), partBytes: 16 << 20)
        #expect(fits.partBytes == 16 << 20 && fits.count == 10_000)
        let grown = PartPlan(objectBytes: 10_000 * (16 << 20) + 1, partBytes: 16 << 20)
        #expect(grown.partBytes == 17 << 20 && grown.count == 9412)
    }

    @Test(
        arguments: [
            (5 << 20) + 1, 73_400_320, 104_857_600, 5_000_000_000, 5_497_558_138_880,
        ] as [UInt64],
        [1, 5 << 20, (16 << 20) + 7, 100 << 20] as [UInt64]
    )
    func partsCoverTheObjectInEqualSizes(objectBytes: UInt64, partBytes: UInt64) {
        let plan = PartPlan(objectBytes: objectBytes, partBytes: partBytes)
        let parts = plan.parts
        #expect(parts.count == plan.count && parts.count <= 10_000)
        #expect(parts.map(\.number) == Array(1...plan.count))
        var offset: UInt64 = 0
        for part in parts {
            #expect(part.offset == offset)
            offset += part.length
        }
        #expect(offset == objectBytes)
        #expect(parts.dropLast().allSatisfy { $0.length == plan.partBytes && $0.length >= PartPlan.partBytesMin })
        #expect((parts.last?.length ?? 0) > 0 && (parts.last?.length ?? .max) <= plan.partBytes)
    }
}
