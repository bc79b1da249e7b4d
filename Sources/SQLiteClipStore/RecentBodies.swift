// clipbridge
// SPDX-License-Identifier: Apache-2.0

import NIOConcurrencyHelpers

/// A body's SHA-256, in the order in which SQLite sorts it as a BLOB.
struct BodyHash: Hashable, Comparable, Sendable {
    /// Big-endian, so that they sort as the bytes do.
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    /// - Parameter bytes: 32; what is missing counts as zero.
    init(_ bytes: some Sequence<UInt8>) {
        var bytes = bytes.makeIterator()
        words = (bytes.word(), bytes.word(), bytes.word(), bytes.word())
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32)
        for word in [words.0, words.1, words.2, words.3] { bytes.append(word: word) }
        return bytes
    }

    static func == (one: Self, other: Self) -> Bool { one.words == other.words }

    static func < (one: Self, other: Self) -> Bool { one.words < other.words }

    func hash(into hasher: inout Hasher) {
        // Half of a cryptographic hash is enough of it.
        hasher.combine(words.0)
        hasher.combine(words.1)
    }
}

/// The youngest deliveries by the SHA-256 of their bodies: what is not in `clipbridge_bodies` yet.
///
/// A hash falls anywhere in an index, so an index that takes each at once has a page of 4 KiB written for almost every
/// delivery, twice. Kept here, they go into it as sorted runs, whose neighbours share pages (as a log-structured merge
/// tree does, O'Neil et al. 1996), and a run goes in piece by piece with the deliveries of the next. For the next start
/// of the process, `clipbridge_bodies_recent` has a row with those of each transaction. If they are enough for a run
/// then, the first transaction brings them all into the index: how far one had come is known here alone.
///
/// No constraint guards this: a transaction that writes is the only one (`BEGIN IMMEDIATE`), and at its first look it
/// checks what is here against two numbers of the database, and reads it anew where they differ, be it for a commit
/// whose outcome nobody knows or for another process.
final class RecentBodies: Sendable {
    typealias Body = (hash: BodyHash, delivery: Int64)

    /// Where the database is.
    struct Place: Sendable, Equatable {
        /// The last delivery's number.
        var last: Int64
        /// The bodies of all deliveries up to this one are in the index.
        var indexed: Int64
    }

    /// What a transaction does.
    struct Change: Sendable {
        /// Where it began; nil if it has not looked.
        var start: Place?
        var added: [BodyHash: Int64] = [:]
        var indexed = 0
    }

    /// As they stand in `clipbridge_bodies_recent`: each body's 32 bytes and 8 of its delivery, big-endian.
    static func encode(_ bodies: [BodyHash: Int64]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(40 * bodies.count)
        for (hash, delivery) in bodies {
            bytes += hash.bytes
            bytes.append(word: UInt64(bitPattern: delivery))
        }
        return bytes
    }

    static func decode(_ bytes: [UInt8]) -> [Body] {
        stride(from: 0, to: bytes.count, by: 40).map { start in
            var delivery = bytes[start...].dropFirst(32).makeIterator()
            return (BodyHash(bytes[start...]), Int64(bitPattern: delivery.word()))
        }
    }

    private struct State {
        /// Nil until somebody asks.
        var place: Place?
        var young: [BodyHash: Int64] = [:]
        /// On their way into the index, with their order in it, and how many are in it.
        var run: [BodyHash: Int64] = [:]
        var order: [BodyHash] = []
        var done = 0
        /// The highest number in the run.
        var runEnd: Int64 = 0
        /// The run was there when this was read.
        var isOld = false

        mutating func beginRun(of count: Int) {
            guard run.isEmpty, young.count >= count else { return }
            run = young
            order = young.keys.sorted()
            done = 0
            runEnd = young.values.max() ?? 0
            young = [:]
        }
    }

    private let state = NIOLockedValueBox(State())
    private let runLength: Int

    /// - Parameter runLength: how many bodies go into the index together. Half as many more are here at most, some 5 MB
    ///   with the default. Of a page for each body it leaves a twentieth while the index has a hundred thousand, and
    ///   half at a million, when a page has 55 of them.
    init(runLength: Int = 1 << 15) { self.runLength = runLength }

    /// Sees to it that here is what the database has.
    /// - Parameter all: reads what is not in the index, oldest first.
    func update(to place: Place, all: () throws -> [Body]) rethrows {
        guard state.withLockedValue({ $0.place }) != place else { return }
        let bodies = try all()
        state.withLockedValue { state in
            state = State()
            state.place = place
            for body in bodies { state.young[body.hash] = body.delivery }
            state.beginRun(of: runLength)
            state.isOld = !state.run.isEmpty
        }
    }

    func delivery(of hash: BodyHash) -> Int64? {
        state.withLockedValue { $0.young[hash] ?? $0.run[hash] }
    }

    /// What goes into the index next, in its order: two for each that has come, so that a run is in it before there is
    /// another one.
    /// - Returns: also, with the last of a run, up to which delivery all are in it then.
    func next(after added: Int) -> (bodies: [Body], indexed: Int64?) {
        state.withLockedValue { state in
            let part = state.order.dropFirst(state.done).prefix(state.isOld ? .max : 2 * added)
            let isLast = !part.isEmpty && part.endIndex == state.order.endIndex
            return (part.map { ($0, state.run[$0] ?? 0) }, isLast ? state.runEnd : nil)
        }
    }

    /// The transaction is committed.
    func end(_ change: Change) {
        guard let start = change.start else { return }
        state.withLockedValue { state in
            guard state.place == start else { return state.place = nil }
            state.young.merge(change.added) { $1 }
            state.place?.last = max(start.last, change.added.values.max() ?? 0)
            state.done += change.indexed
            if state.done == state.order.count, !state.order.isEmpty {
                state.place?.indexed = state.runEnd
                (state.run, state.order, state.done, state.isOld) = ([:], [], 0, false)
            }
            state.beginRun(of: runLength)
        }
    }
}

extension IteratorProtocol<UInt8> {
    /// The next 8 bytes, big-endian.
    fileprivate mutating func word() -> UInt64 { (0..<8).reduce(0) { word, _ in word << 8 | UInt64(next() ?? 0) } }
}

extension [UInt8] {
    fileprivate mutating func append(word: UInt64) {
        for shift in stride(from: 56, through: 0, by: -8) { append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
    }
}
