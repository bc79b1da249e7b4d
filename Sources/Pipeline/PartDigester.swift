// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP

/// Takes the SHA-256 of a download's parts as they are written, so that none of them has to be read back for it.
///
/// It lasts for one run of a transfer, over the breaks of its download. A part of which it has not seen every byte, as
/// after a restart of the process, has no digest here and is read from the file.
final class PartDigester: FileObserver {
    fileprivate struct State: Sendable {
        var plan: PartPlan
        /// Of the next byte that is to be seen.
        var position: UInt64
        var part: PartPlan.Part
        /// Whether all bytes of the part before the position were seen.
        var isWhole: Bool
        var sha256 = SHA256()
        var digests: [Int: String] = [:]

        init(_ plan: PartPlan, at position: UInt64) {
            self.plan = plan
            self.position = position
            part = plan.part(number: Int(position / plan.partBytes) + 1)
            isWhole = position == part.offset
        }
    }

    private let state = NIOLockedValueBox<State?>(nil)

    /// The bytes from `position` on come next.
    func begin(_ plan: PartPlan, at position: UInt64) {
        state.withLockedValue { state in
            if state?.plan == plan, state?.position == position || position >= plan.objectBytes { return }
            state = State(plan, at: position)
        }
    }

    /// Hexadecimal; nil for a part that was not seen as a whole.
    func sha256(of part: PartPlan.Part) -> String? {
        state.withLockedValue { $0?.digests[part.number] }
    }

    func wrote(_ bytes: RawSpan, at offset: UInt64) {
        state.withLockedValue { $0?.wrote(bytes, at: offset) }
    }
}

extension PartDigester.State {
    fileprivate mutating func wrote(_ bytes: RawSpan, at offset: UInt64) {
        guard offset == position else { return isWhole = false }
        var rest = bytes
        while !rest.isEmpty, position < plan.objectBytes {
            let taken = Int(min(UInt64(rest.byteCount), part.offset + part.length - position))
            update(rest.extracting(first: taken))
            position += UInt64(taken)
            rest = rest.extracting(droppingFirst: taken)
            if position == part.offset + part.length { finishPart() }
        }
    }

    private mutating func update(_ bytes: borrowing RawSpan) {
        guard isWhole else { return }
        // The pointer does not leave the call; swift-crypto has no way to take a span.
        unsafe bytes.withUnsafeBytes { unsafe sha256.update(bufferPointer: $0) }
    }

    private mutating func finishPart() {
        if isWhole { digests[part.number] = hexadecimal(sha256.finalize()) }
        sha256 = SHA256()
        isWhole = true
        if part.number < plan.count { part = plan.part(number: part.number + 1) }
    }
}
