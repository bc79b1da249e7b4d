// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP

/// Puts a spool file or its parts to R2, each signed with its real SHA-256, which R2 verifies, and compared with the
/// tag that comes back where it is known beforehand.
struct PartPutter: Sendable {
    /// R2 or somebody else has aborted the upload.
    struct UploadGone: Error {}

    let storage: S3Client
    let clock: any WallClock
    let path: String
    let key: String
    let progress: PutProgress

    /// Tries of one request before the whole action counts as failed.
    private static let triesMax = 4
    private static let contentType = "video/mp4"

    /// Puts the whole file where nothing stands, or in the place of what stands there now.
    ///
    /// A process may stand still between the look at its lease and its put, and somebody else finish the clip
    /// meanwhile: the put's condition keeps it from writing over that. An upload in parts needs none, for its id is on
    /// the clip's record.
    /// - Parameter confirm: looks at the lease again, and throws when it is lost.
    func putWhole(_ part: TransferPart, confirm: () async throws -> Void) async throws -> String {
        let etag = try await putAgainstOthers(part, confirm: confirm)
        progress.finish(part.number, bytes: part.size)
        return etag
    }

    private func putAgainstOthers(_ part: TransferPart, confirm: () async throws -> Void) async throws -> String {
        var condition = Condition.absent
        for _ in 1...Self.triesMax {
            do {
                return try await put(part, if: condition)
            } catch is ObjectIsAnother {
                let head = try await trying { try await storage.headObject(key) }
                // A try of ours whose answer was lost, or the same bytes by somebody else.
                if let head, head.size == part.size, let etag = head.etag, ETag.isSame(etag, part.etag) { return etag }
                condition = head.map { $0.etag.map(Condition.tag) ?? .any } ?? .absent
                try await confirm()
            } catch is ConditionIsUnknown {
                condition = .any
            }
        }
        throw TransferStop.retryable("r2_contended", "somebody else puts other objects as \"\(key)\"")
    }

    private enum Condition {
        case absent
        /// That object is still there.
        case tag(String)
        case any
    }

    private func put(_ part: TransferPart, if condition: Condition) async throws -> String {
        let (ifNoneMatch, ifMatch): (String?, String?) =
            switch condition {
            case .absent: ("*", nil)
            case .tag(let tag): (nil, tag)
            case .any: (nil, nil)
            }
        let isConditional = ifNoneMatch != nil || ifMatch != nil
        return try await trying({ error in
            switch error.code {
            case .preconditionFailed: ObjectIsAnother()
            case .notImplemented where isConditional: ConditionIsUnknown()
            default: nil
            }
        }) {
            let meter = progress.meter(for: part.number)
            let etag = try await storage.putObject(
                key, body: .file(path: path, offset: 0, length: part.size), payloadHash: part.sha256,
                contentType: Self.contentType, ifNoneMatch: ifNoneMatch, ifMatch: ifMatch, meter: meter)
            try Self.compare(etag, part, "the object \"\(key)\"")
            return etag
        }
    }

    /// - Returns: the part with R2's tag.
    func put(_ part: TransferPart, offset: UInt64, uploadID: String) async throws -> TransferPart {
        let etag = try await trying {
            let meter = progress.meter(for: part.number)
            let etag = try await storage.uploadPart(
                key, uploadID: uploadID, number: part.number,
                body: .file(path: path, offset: offset, length: part.size), payloadHash: part.sha256, meter: meter)
            try Self.compare(etag, part, "part \(part.number) of \"\(key)\"")
            return etag
        }
        progress.finish(part.number, bytes: part.size)
        var stored = part
        stored.etag = etag
        return stored
    }

    /// Opens an upload and aborts the key's others, which are on nobody's record: left over from a process that died,
    /// or from a try whose answer was lost. A server that does not list them keeps them until its own clearing up.
    func openUpload() async throws -> String {
        let id = try await trying { try await storage.createMultipartUpload(key, contentType: Self.contentType) }
        await abortUploads(but: id)
        return id
    }

    private func abortUploads(but own: String) async {
        guard let open = try? await storage.listMultipartUploads(prefix: key) else { return }
        for upload in open where upload.key == key && upload.uploadID != own {
            try? await storage.abortMultipartUpload(key, uploadID: upload.uploadID)
        }
    }

    func complete(_ parts: [CompletedPart], uploadID: String) async throws -> String {
        do {
            return try await trying {
                try await storage.completeMultipartUpload(key, uploadID: uploadID, parts: parts)
            }
        } catch is UploadGone {
            // Completed by a try whose answer was lost, or aborted by somebody.
            if let etag = try await storedETag(parts) { return etag }
            throw UploadGone()
        } catch is PartsRefused {
            try? await storage.abortMultipartUpload(key, uploadID: uploadID)
            throw UploadGone()
        }
    }

    private func storedETag(_ parts: [CompletedPart]) async throws -> String? {
        let head = try await trying { try await storage.headObject(key) }
        guard let etag = head?.etag, let expected = ETag.ofParts(parts.map(\.etag)) else { return nil }
        return ETag.isSame(etag, expected) ? etag : nil
    }

    // MARK: Tries

    /// A passing failure is tried again from the spool at once, so that one lost packet does not cost a whole round.
    /// - Parameter special: what is thrown at once in the place of some errors.
    private func trying<Value: Sendable>(
        _ special: (ObjectStorageError) -> (any Error)? = { _ in nil }, _ body: () async throws -> Value
    ) async throws -> Value {
        var tries = 1
        while true {
            do {
                return try await body()
            } catch let error as ObjectStorageError {
                if let special = special(error) { throw special }
                if error.code == .noSuchUpload { throw UploadGone() }
                if [.invalidPart, .invalidPartOrder, .entityTooSmall].contains(error.code) { throw PartsRefused() }
                guard error.isRetryable, !error.isCancellation, tries < Self.triesMax else { throw TransferStop(error) }
                try await pause(error.retryAfter, after: tries, or: TransferStop(error))
            } catch let mismatch as TagMismatch {
                guard tries < Self.triesMax else { throw mismatch.stop }
                try await pause(nil, after: tries, or: mismatch.stop)
            }
            tries += 1
        }
    }

    private func pause(_ asked: Duration?, after tries: Int, or stop: TransferStop) async throws {
        let wait = asked ?? .milliseconds(200 << tries)
        // A longer wait is the planner's, which does not keep a transfer's place meanwhile.
        if wait > .seconds(5) { throw stop }
        try await clock.sleep(for: wait)
    }

    /// R2 does not make an object of these parts; nothing but new ones helps.
    private struct PartsRefused: Error {}

    /// Another one than the put's condition allows.
    private struct ObjectIsAnother: Error {}

    /// A server that is not R2 does not know conditions.
    private struct ConditionIsUnknown: Error {}

    private struct TagMismatch: Error {
        var stop: TransferStop
    }

    private static func compare(_ etag: String, _ part: TransferPart, _ what: String) throws {
        if part.etag.isEmpty || ETag.isSame(etag, part.etag) { return }
        throw TagMismatch(
            stop: .retryable(
                "r2_etag", "R2 tagged \(what) \"\(etag)\", but the bytes that were fetched have the tag \(part.etag)"))
    }
}

/// How many of an object's bytes are at R2 or on their way.
final class PutProgress: Sendable {
    private struct State: Sendable {
        var hasBegun = false
        var done: UInt64 = 0
        var sentBefore: UInt64 = 0
        var running: [Int: TransferMeter] = [:]
    }

    private let state = NIOLockedValueBox(State())

    var hasBegun: Bool { state.withLockedValue(\.hasBegun) }
    var bytes: UInt64 {
        state.withLockedValue { state in state.running.values.reduce(state.done) { $0 + $1.bytesSent } }
    }
    /// All that was sent, repetitions too.
    var bytesSent: UInt64 {
        state.withLockedValue { state in state.running.values.reduce(state.sentBefore) { $0 + $1.bytesSent } }
    }

    func begin() { state.withLockedValue { $0.hasBegun = true } }

    /// A fresh meter for a try, in the place of the last try's.
    func meter(for part: Int) -> TransferMeter {
        let meter = TransferMeter()
        state.withLockedValue { state in
            state.sentBefore += state.running[part]?.bytesSent ?? 0
            state.running[part] = meter
        }
        return meter
    }

    func finish(_ part: Int, bytes: UInt64) {
        state.withLockedValue { state in
            state.sentBefore += state.running[part]?.bytesSent ?? 0
            state.running[part] = nil
            state.done += bytes
        }
    }
}
