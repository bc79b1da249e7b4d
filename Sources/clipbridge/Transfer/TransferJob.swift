// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import ObjectStorage
import Pipeline

/// One file's way to its object, with a few tries; a bridge has a planner for that.
struct TransferJob: Sendable {
    let id: ClipUID
    let url: String
    let key: String
    let storage: S3Client
    let engine: TransferEngine
    let journal: FileJournal

    /// Failures in all. The engine itself tries each request a few times before it fails.
    private static let triesMax = 6

    /// The same for the same file and object, so that another run finds what the last one left.
    static func identifier(url: String, bucket: String, key: String) throws -> ClipUID {
        let digest = FileDigest(of: Array("\(url)\n\(bucket)\n\(key)".utf8)).sha256
        guard let id = ClipUID(digest.prefix(ClipUID.lengthMax)) else {
            throw CommandFailure(.failed, "the digest \"\(digest)\" makes no identifier")
        }
        return id
    }

    func run() async throws -> ObjectHead {
        try await lookAhead()
        return try await trying {
            try await engine.run(id, key: key, source: FixedSource(url: url), journal: journal)
        }
    }

    /// What is wrong with the bucket or its key should not first cost a download.
    private func lookAhead() async throws {
        let before = try await trying { try await engine.look(at: key) }
        if before == nil { try await lookForBucket() }
        if journal.goesOn {
            Terminal.error("going on with what an earlier run left")
        } else if let before {
            Terminal.error("the object \"\(key)\" is there already, with \(before.size) bytes; it will be replaced")
        }
    }

    private func lookForBucket() async throws {
        do throws(ObjectStorageError) {
            try await storage.headBucket()
        } catch {
            // A key for objects alone need not be allowed to ask.
            if error.code == .noSuchBucket { throw error }
        }
    }

    private func trying<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        var tries = 1
        while true {
            do {
                return try await body()
            } catch {
                guard !Task.isCancelled, let failure = TransferEngine.failure(error) else { throw error }
                // What only waits, waits for somebody to make room.
                guard failure.isRetryable, !failure.isWaiting, tries < Self.triesMax else {
                    throw CommandFailure(failure.exitCode, failure.message)
                }
                let wait = failure.retryAfter ?? .seconds(1 << min(tries, 5))
                tries += 1
                journal.display.clear()
                Terminal.error("\(failure.message); attempt \(tries) of \(Self.triesMax) in \(Int(wait.inSeconds)) s")
                try await Task.sleep(for: wait)
            }
        }
    }
}

extension ActionFailure {
    /// Of a program that ends with it.
    fileprivate var exitCode: CommandFailure.Code {
        if code == "download_unauthorized" { return .refused }
        let storage = code.hasPrefix("r2_") ? ObjectStorageError.Code(rawValue: String(code.dropFirst(3))) : nil
        if let storage, ObjectStorageError(code: storage, message: message).isRefusal { return .refused }
        return isRetryable && !isWaiting ? .unavailable : .failed
    }
}
