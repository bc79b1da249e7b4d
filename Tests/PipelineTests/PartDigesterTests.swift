// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ObjectStorage
import Testing

@testable import Pipeline

@Suite struct PartDigesterTests {
    private static let part = PartPlan.partBytesMin
    private static let bytes = (0..<(2 * Int(part) + 1_000)).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
    private static let plan = PartPlan(objectBytes: UInt64(bytes.count), partBytes: part)

    private func write(_ range: Range<Int>, to digester: PartDigester, pieces: Int = 100_003) {
        for start in stride(from: range.lowerBound, to: range.upperBound, by: pieces) {
            let piece = Array(Self.bytes[start..<min(start + pieces, range.upperBound)])
            show(piece, at: start, to: digester)
        }
    }

    private func show(_ bytes: [UInt8], at offset: Int, to digester: PartDigester) {
        // The span does not outlive its array; its bytes have no padding among them.
        unsafe digester.wrote(bytes.span.bytes, at: UInt64(offset))
    }

    private func expected(_ number: Int) -> String {
        let part = Self.plan.part(number: number)
        return FileDigest(of: Array(Self.bytes[Int(part.offset)..<Int(part.offset + part.length)])).sha256
    }

    private func digests(_ digester: PartDigester) -> [String?] { Self.plan.parts.map(digester.sha256) }

    @Test(arguments: [100_003, 1 << 18, 6 << 20, 20 << 20])
    func everyPartHasItsDigestHoweverTheBytesCome(_ pieces: Int) {
        let digester = PartDigester()
        digester.begin(Self.plan, at: 0)
        write(0..<Self.bytes.count, to: digester, pieces: pieces)
        #expect(digests(digester) == [expected(1), expected(2), expected(3)])
    }

    @Test func breakIsGoneOnFrom() {
        let digester = PartDigester()
        digester.begin(Self.plan, at: 0)
        write(0..<7_000_000, to: digester)
        digester.begin(Self.plan, at: 7_000_000)
        write(7_000_000..<Self.bytes.count, to: digester)
        #expect(digests(digester) == [expected(1), expected(2), expected(3)])
    }

    @Test func partWhoseBeginningWasNotSeenHasNoDigest() {
        let digester = PartDigester()
        digester.begin(Self.plan, at: UInt64(Self.part) + 5)
        write((Int(Self.part) + 5)..<Self.bytes.count, to: digester)
        #expect(digests(digester) == [nil, nil, expected(3)])
    }

    @Test func gapCostsThePartItsDigest() {
        let digester = PartDigester()
        digester.begin(Self.plan, at: 0)
        write(0..<1_000, to: digester)
        write(2_000..<Self.bytes.count, to: digester)
        #expect(digests(digester) == [nil, nil, nil])
    }

    @Test func anotherPlanBeginsAnew() {
        let digester = PartDigester()
        digester.begin(PartPlan(objectBytes: 6 << 20, partBytes: Self.part), at: 0)
        write(0..<1_000, to: digester)
        digester.begin(Self.plan, at: 0)
        write(0..<Self.bytes.count, to: digester)
        #expect(digests(digester) == [expected(1), expected(2), expected(3)])
    }

    @Test func bytesBeyondTheEndAreLeftAlone() {
        let digester = PartDigester()
        digester.begin(Self.plan, at: 0)
        write(0..<Self.bytes.count, to: digester)
        show([1, 2, 3], at: Self.bytes.count, to: digester)
        #expect(digester.sha256(of: Self.plan.part(number: 3)) == expected(3))
    }
}
