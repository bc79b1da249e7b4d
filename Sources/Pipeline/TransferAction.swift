// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CloudflareStream
import FoundationEssentials
import ObjectStorage

/// Moves one clip's MP4 to R2, and tells the ledger.
struct TransferAction: Sendable {
    let stream: StreamClient
    let engine: TransferEngine

    func perform(_ request: ActionRequest, reporter: any ActionReporter) async -> ActionOutcome {
        do {
            try await run(request, LeasedJournal(request: request, reporter: reporter))
            return .reported
        } catch let stop as TransferStop {
            return stop.outcome
        } catch let failure as ActionFailure {
            return .failed(failure)
        } catch is CancellationError {
            return .abandoned
        } catch {
            let text = "the transfer stopped: \(error)"
            return .failed(ActionFailure(code: "transfer", message: text, isRetryable: true))
        }
    }

    private func run(_ request: ActionRequest, _ journal: LeasedJournal) async throws {
        let key = ObjectKeyTemplate(engine.settings.objectKey).key(of: request.uid)
        if let object = try await confirmedBefore(request, key: key, journal) {
            return try await complete(object, key: key, request, journal)
        }
        let object = try await engine.run(
            request.uid, key: key, source: ClipSource(stream: stream, request: request), journal: journal)
        try await complete(object, key: try await journal.load()?.objectKey ?? key, request, journal)
    }

    /// An operator's retry of a finished clip: the object that R2 confirmed then, if it is there still.
    private func confirmedBefore(
        _ request: ActionRequest, key: String, _ journal: LeasedJournal
    ) async throws -> ObjectHead? {
        guard request.status == .r2Uploading, let size = request.details[.r2Size]?.integerValue,
            try await journal.load() == nil
        else { return nil }
        let head = try await engine.look(at: key)
        return head.flatMap { Int64(exactly: $0.size) == size ? $0 : nil }
    }

    private func complete(
        _ object: ObjectHead, key: String, _ request: ActionRequest, _ journal: LeasedJournal
    ) async throws {
        var details: Details = [:]
        details[.r2Key] = .string(key)
        details[.r2ETag] = object.etag.map { .string($0) }
        details[.r2Size] = .integer(Int64(clamping: object.size))
        details[.r2PublicURL] = engine.settings.publicURL(of: key).map { .string($0) }
        details[.r2UploadComplete] = true
        try await journal.report(Observation(status: .complete, percent: 100, details: details))
        // Only now: until the ledger holds it, the spool is what saves a second download.
        await engine.cleanUp(request.uid, journal: journal)
    }
}
