// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Bytes of any number that look like an MP4 from afar and follow from a seed alone.
///
/// The first forty bytes are a file type box and the head of a media data box. Behind them one block of noise is
/// repeated with its number and the seed in front, so every block differs and a misplaced one is found.
struct SampleMedia: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    static let blockBytes = 64 * 1024

    let bytes: UInt64
    let seed: UInt64

    /// The same uid always has the same bytes.
    init(bytes: UInt64, uid: String) {
        self.bytes = bytes
        // FNV-1a.
        self.seed = uid.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    struct AsyncIterator: AsyncIteratorProtocol {
        private let block: ByteBuffer
        private let bytes: UInt64
        private let seed: UInt64
        private var offset: UInt64 = 0

        init(_ media: SampleMedia) {
            bytes = media.bytes
            seed = media.seed
            var noise = SplitMix64(state: media.seed)
            var block = ByteBuffer()
            block.reserveCapacity(SampleMedia.blockBytes)
            for _ in 0..<SampleMedia.blockBytes / 8 { block.writeInteger(noise.next()) }
            self.block = block
        }

        mutating func next() async -> ByteBuffer? {
            guard offset < bytes else { return nil }
            var chunk = block
            chunk.setInteger(seed ^ 0x5851_F42D_4C95_7F2D, at: 0)
            chunk.setInteger(offset, at: 8)
            if offset == 0 { setFileHead(in: &chunk) }
            let count = Swift.min(UInt64(SampleMedia.blockBytes), bytes - offset)
            offset += count
            return chunk.readSlice(length: Int(count))
        }

        private func setFileHead(in chunk: inout ByteBuffer) {
            var head = ByteBuffer()
            head.writeInteger(UInt32(24))
            head.writeString("ftypisom")
            head.writeInteger(UInt32(512))
            head.writeString("isommp42")
            // A length of 1 says that the real one follows in 64 bits.
            head.writeInteger(UInt32(1))
            head.writeString("mdat")
            head.writeInteger(bytes > 24 ? bytes - 24 : 16)
            chunk.setBuffer(head, at: 0)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }
}
