// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import HTTPTypes
import NIOConcurrencyHelpers
import ObjectStorage
import Sandbox

/// The host of the MP4s: answers ranges under strong tags, and may make a file anew at any time.
final class MediaHost: Sendable {
    private struct State: Sendable {
        var sizes: [String: Int] = [:]
        var versions: [String: Int] = [:]
        var served: [String: Int] = [:]
    }

    private let world: WorldState
    private let state = NIOLockedValueBox(State())
    private let block: [UInt8]

    init(_ world: WorldState) {
        self.world = world
        var generator = SplitMix64(state: 7)
        var noise: [UInt8] = []
        for _ in 0..<2_048 {
            let number = generator.next()
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                noise.append(UInt8(truncatingIfNeeded: number >> shift))
            }
        }
        block = noise
    }

    func add(_ uid: ClipUID, size: Int) {
        state.withLockedValue { state in
            state.sizes[uid.rawValue] = size
            state.versions[uid.rawValue] = 1
        }
    }

    func size(of uid: ClipUID) -> Int { state.withLockedValue { $0.sizes[uid.rawValue] ?? 0 } }
    func served(of uid: ClipUID) -> Int { state.withLockedValue { $0.served[uid.rawValue, default: 0] } }

    /// Makes another file of the same size.
    func change(_ uid: ClipUID) { state.withLockedValue { $0.versions[uid.rawValue]? += 1 } }

    func change(_ call: Upstream.Call) {
        if let uid = Self.uid(call) { state.withLockedValue { $0.versions[uid]? += 1 } }
    }

    /// Whether an object with this digest is one of the clip's files as a whole.
    func hasMade(_ sha256: String, of uid: ClipUID) -> Bool {
        let versions = state.withLockedValue { $0.versions[uid.rawValue, default: 0] }
        return (1...max(versions, 1)).contains { FileDigest(of: content(uid.rawValue, version: $0)).sha256 == sha256 }
    }

    /// Blocks of noise, each with its number, the clip and the version in front, so that every misplaced one shows.
    private func content(_ uid: String, version: Int) -> [UInt8] {
        let size = state.withLockedValue { $0.sizes[uid] ?? 0 }
        let head = Array(uid.utf8.suffix(4)) + [UInt8(truncatingIfNeeded: version)]
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size + block.count)
        var number: UInt32 = 0
        while bytes.count < size {
            let start = bytes.count
            bytes += block
            for (index, byte) in head.enumerated() { bytes[start + index] = byte }
            for index in 0..<4 { bytes[start + 8 + index] = UInt8(truncatingIfNeeded: number >> UInt32(index * 8)) }
            number += 1
        }
        bytes.removeLast(bytes.count - size)
        return bytes
    }

    func served(_ count: Int, of call: Upstream.Call) {
        guard call.service == .media, let uid = Self.uid(call) else { return }
        state.withLockedValue { $0.served[uid, default: 0] += count }
    }

    private static func uid(_ call: Upstream.Call) -> String? {
        call.path.first.map { $0.hasPrefix("token-") ? String($0.dropFirst(6)) : $0 }
    }

    func answer(_ call: Upstream.Call) -> Upstream.Answer {
        guard let uid = Self.uid(call), let version = state.withLockedValue({ $0.versions[uid] }) else {
            return Upstream.Answer(404)
        }
        let bytes = content(uid, version: version)
        let tag = "\"\(uid)-\(version)\""
        let isSame = call.headers[.ifRange].map { $0 == tag } ?? true
        guard isSame, let first = Self.offset(call.headers[.range]) else {
            var answer = Upstream.Answer(200, bytes)
            answer.headers[.eTag] = tag
            return answer
        }
        guard first < bytes.count else { return Upstream.Answer(416) }
        var answer = Upstream.Answer(206, Array(bytes[first...]))
        answer.headers[.contentRange] = "bytes \(first)-\(bytes.count - 1)/\(bytes.count)"
        if !world.scenario.has(.untaggedRanges) { answer.headers[.eTag] = tag }
        return answer
    }

    private static func offset(_ range: String?) -> Int? {
        guard let range, range.hasPrefix("bytes="), range.hasSuffix("-") else { return nil }
        return Int(range.dropFirst(6).dropLast())
    }
}
