// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP

/// One pass of a transfer: three tasks that follow each other through the file. The download fills the spool, the
/// digests of whole parts are taken right behind it, and the puts follow these, a few at a time.
final class TransferRun: Sendable {
    private let id: ClipUID
    private let engine: TransferEngine
    private let source: any TransferSource
    private let journal: any TransferJournal
    private let resumption: TransferResumption
    private let level: SpoolLevel
    private let progress = PutProgress()
    private let record: NIOLockedValueBox<TransferRecord>
    private let planned = NIOLockedValueBox<PartPlan?>(nil)
    private let queue: AsyncStream<TransferPart>
    private let enter: AsyncStream<TransferPart>.Continuation

    init(
        id: ClipUID, engine: TransferEngine, source: any TransferSource, journal: any TransferJournal,
        resumption: TransferResumption
    ) {
        self.id = id
        self.engine = engine
        self.source = source
        self.journal = journal
        self.resumption = resumption
        self.level = SpoolLevel(offset: resumption.offset)
        self.record = NIOLockedValueBox(resumption.record)
        (queue, enter) = AsyncStream.makeStream()
        for part in resumption.stored.keys {
            progress.finish(part, bytes: resumption.record.plan?.part(number: part).length ?? 0)
        }
    }

    /// What is shown: of the put once it has begun, before that of the download.
    var bytes: TransferBytes {
        let total = resumption.isFetched ? resumption.record.size : level.total
        let received = resumption.isFetched ? 0 : level.available - resumption.offset
        return TransferBytes(
            done: progress.hasBegun ? progress.bytes : level.available, total: total, received: received,
            sent: progress.bytesSent)
    }

    /// A failed put does not end the download, which is paid for: it is thrown once the spool holds the whole file.
    /// - Returns: the record with the object's tag.
    func result() async throws -> TransferRecord {
        try await withThrowingTaskGroup(of: Result<String, any Error>?.self) { group in
            group.addTask {
                try await self.fetch()
                return nil
            }
            group.addTask {
                try await self.takeDigests()
                return nil
            }
            group.addTask {
                do {
                    return .success(try await self.put())
                } catch TransferStop.leaseLost {
                    throw TransferStop.leaseLost
                } catch {
                    try Task.checkCancellation()
                    return .failure(error)
                }
            }
            defer { group.cancelAll() }
            var etag: Result<String, any Error>?
            for try await outcome in group { etag = outcome ?? etag }
            return finished(try etag?.get())
        }
    }

    private func finished(_ etag: String?) -> TransferRecord {
        record.withLockedValue { record in
            record.objectETag = etag
            return record
        }
    }

    // MARK: Download

    private func fetch() async throws {
        if resumption.isFetched {
            level.finish(size: resumption.record.size ?? 0)
            return
        }
        let fetch = SpoolFetch(
            transport: engine.transport, spool: engine.spool, hosts: engine.settings.downloadHosts, clock: engine.clock,
            partBytes: engine.settings.partBytes)
        try await fetch.run(id, source: source, record: resumption.record, level: level) {
            do {
                try await self.journal.report(Observation(status: nil))
            } catch let stop as TransferStop {
                throw stop
            } catch {
                // A store that is busy for a moment must not cost the bytes that are there.
            }
        }
    }

    // MARK: Digests

    /// Takes the digest of each part as soon as the spool holds it, and keeps it: after a crash it tells which bytes of
    /// the spool can be trusted. Not held up by the puts, so that a crash costs one part of the download at most.
    private func takeDigests() async throws {
        let total = try await level.knownTotal()
        let plan = PartPlan(
            objectBytes: total, partBytes: resumption.record.partBytes ?? engine.settings.partBytes)
        try await keep(plan)
        planned.withLockedValue { $0 = plan }
        for part in resumption.spooled { enter.yield(part) }
        let have = Set(resumption.stored.keys).union(resumption.spooled.map(\.number))
        for part in plan.parts where !have.contains(part.number) {
            try await level.reach(part.offset + part.length)
            let digested = try await digest(part, of: plan)
            try await keep(digested)
            enter.yield(digested)
        }
        // Not on the way out of an error: what follows would take the end for the whole.
        enter.finish()
    }

    private func keep(_ plan: PartPlan) async throws {
        let known = record.withLockedValue { record in
            record.size = plan.objectBytes
            record.partBytes = plan.partBytes
            record.sourceETag = level.etag ?? record.sourceETag
            return record
        }
        try await journal.save(known)
    }

    private func keep(_ part: TransferPart) async throws {
        record.withLockedValue { record in
            record.parts.removeAll { $0.number == part.number }
            record.parts.append(part)
        }
        try await journal.save(part)
    }

    /// The SHA-256, which R2 verifies. The MD5, which its tag would be compared with, takes twice as long again, so
    /// only a file that is small enough for a single put has it taken too.
    private func digest(_ part: PartPlan.Part, of plan: PartPlan) async throws -> TransferPart {
        let path = engine.spool.path(of: id)
        do {
            if plan.isSinglePut {
                let digest = try await FileDigest.ofFile(path, offset: part.offset, length: part.length)
                return TransferPart(number: part.number, size: part.length, sha256: digest.sha256, etag: digest.md5)
            }
            let sha256 =
                if let seen = level.digester.sha256(of: part) {
                    seen
                } else {
                    try await FileDigest.sha256(ofFile: path, offset: part.offset, length: part.length)
                }
            return TransferPart(number: part.number, size: part.length, sha256: sha256)
        } catch let error as ObjectStorageError {
            throw TransferStop.retryable("spool_unreadable", error.message)
        }
    }

    // MARK: Puts

    private func put() async throws -> String {
        var parts = queue.makeAsyncIterator()
        let first = await parts.next()
        guard let plan = planned.withLockedValue({ $0 }) else { throw CancellationError() }
        guard let first else {
            try Task.checkCancellation()
            // Every part is at R2 already.
            return try await complete(resumption.stored, plan, uploadID: try await openUpload())
        }
        if plan.isSinglePut {
            try await level.finished()
            try await journal.report(Observation(status: .r2Uploading))
            progress.begin()
            return try await putter.putWhole(first) {
                try await journal.report(Observation(status: .r2Uploading))
            }
        }
        let uploadID = try await openUpload()
        let done = try await putParts(first, parts, plan, uploadID: uploadID)
        try await level.finished()
        return try await complete(done, plan, uploadID: uploadID)
    }

    private func putParts(
        _ first: TransferPart, _ rest: AsyncStream<TransferPart>.Iterator, _ plan: PartPlan, uploadID: String
    ) async throws -> [Int: CompletedPart] {
        let putter = putter
        var rest = rest
        var next: TransferPart? = first
        var done = resumption.stored
        var running = 0
        try await withThrowingTaskGroup(of: CompletedPart.self) { group in
            while let part = next {
                if running >= engine.settings.partsMax, let finished = try await group.next() {
                    done[finished.number] = finished
                    running -= 1
                }
                let offset = plan.part(number: part.number).offset
                group.addTask {
                    let stored = try await putter.put(part, offset: offset, uploadID: uploadID)
                    // Without the tag on record, a new process would put the part again.
                    try await self.keep(stored)
                    return CompletedPart(number: stored.number, etag: stored.etag)
                }
                running += 1
                next = await rest.next()
            }
            for try await finished in group { done[finished.number] = finished }
        }
        try Task.checkCancellation()
        return done
    }

    private var putter: PartPutter {
        PartPutter(
            storage: engine.storage, clock: engine.clock, path: engine.spool.path(of: id),
            key: resumption.record.objectKey, progress: progress)
    }

    /// The upload on record, else a new one.
    private func openUpload() async throws -> String {
        let key = resumption.record.objectKey
        if let known = resumption.record.uploadID {
            progress.begin()
            try await journal.report(Observation(status: .r2Uploading))
            return known
        }
        let id = try await putter.openUpload()
        do {
            try await keep(uploadID: id)
            try await journal.report(Observation(status: .r2Uploading))
        } catch TransferStop.leaseLost {
            // Nobody else can know of it.
            try? await engine.storage.abortMultipartUpload(key, uploadID: id)
            throw TransferStop.leaseLost
        }
        progress.begin()
        return id
    }

    private func keep(uploadID: String) async throws {
        let opened = record.withLockedValue { record in
            record.uploadID = uploadID
            return record
        }
        try await journal.save(opened)
        // The record brings its parts along, and writes over one that was taken since it was read: without its digest
        // a part counts for nothing, and its download would be paid again.
        let written = Set(opened.parts.map(\.number))
        for part in record.withLockedValue(\.parts) where !written.contains(part.number) {
            try await journal.save(part)
        }
    }

    private func complete(
        _ done: [Int: CompletedPart], _ plan: PartPlan, uploadID: String
    ) async throws -> String {
        let parts = done.values.sorted { $0.number < $1.number }
        guard parts.map(\.number) == Array(1...plan.count) else {
            throw TransferStop.retryable("r2_parts", "\(parts.count) of \(plan.count) parts were put")
        }
        return try await putter.complete(parts, uploadID: uploadID)
    }
}

/// Figures of a running transfer.
struct TransferBytes: Sendable {
    /// Done of what is shown.
    var done: UInt64
    var total: UInt64?
    /// Received and sent by this process.
    var received: UInt64
    var sent: UInt64
}
