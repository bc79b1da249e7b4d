// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// How an object is cut for R2: in one piece, or in parts of exactly one size of which only the last may be smaller.
package struct PartPlan: Sendable, Equatable {
    package struct Part: Sendable, Equatable {
        /// From 1 on, as S3 counts.
        package var number: Int
        package var offset: UInt64
        package var length: UInt64

        package init(number: Int, offset: UInt64, length: UInt64) {
            self.number = number
            self.offset = offset
            self.length = length
        }
    }

    /// S3's and R2's least size of a part that is not the last.
    package static let partBytesMin: UInt64 = 5 << 20
    /// R2 takes 5 GiB less 5 MiB in one request.
    package static let partBytesMax: UInt64 = (5 << 30) - (5 << 20)
    package static let partsMax: UInt64 = 10_000

    package let objectBytes: UInt64
    package let partBytes: UInt64

    /// Takes the wished size of a part as far as the limits allow; it grows where 10,000 parts would not do.
    package init(objectBytes: UInt64, partBytes wished: UInt64) {
        self.objectBytes = objectBytes
        let mebibyte: UInt64 = 1 << 20
        let least = Self.quotient(objectBytes, Self.partsMax)
        let leastInMebibytes = Self.quotient(least, mebibyte) * mebibyte
        let size = min(max(wished, Self.partBytesMin), Self.partBytesMax)
        partBytes = size >= least ? size : leastInMebibytes
    }

    /// Up to one part's size goes in a single put.
    package var isSinglePut: Bool { objectBytes <= partBytes }

    package var count: Int { isSinglePut ? 1 : Int(Self.quotient(objectBytes, partBytes)) }

    package var parts: [Part] { (1...count).map(part(number:)) }

    /// Traps on a number that is not in `1...count`.
    package func part(number: Int) -> Part {
        precondition((1...count).contains(number), "part \(number) of \(count)")
        let offset = UInt64(number - 1) * partBytes
        return Part(number: number, offset: offset, length: min(partBytes, objectBytes - offset))
    }

    /// Rounded up.
    private static func quotient(_ dividend: UInt64, _ divisor: UInt64) -> UInt64 {
        dividend / divisor + (dividend % divisor == 0 ? 0 : 1)
    }
}
