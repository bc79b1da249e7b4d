// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import FoundationEssentials
import NIOConcurrencyHelpers
package import ObjectStorage
package import OutboundHTTP

/// Moves one file from a URL to an object: download, digest and put go on at the same time, a part at a time.
///
/// The download costs its owner money, so whatever the spool or R2 holds already is used and not fetched again; see
/// `TransferResumption`. Memory is bounded by the buffers of a few requests, whatever the size.
package struct TransferEngine: Sendable {
    let storage: S3Client
    let transport: any HTTPTransport
    let spool: Spool
    let settings: TransferSettings
    let clock: any WallClock
    let metrics: TransferMetrics

    package init(
        storage: S3Client, transport: any HTTPTransport, spool: Spool, settings: TransferSettings,
        clock: any WallClock = SystemWallClock()
    ) {
        self.storage = storage
        self.transport = transport
        self.spool = spool
        self.settings = settings
        self.clock = clock
        self.metrics = TransferMetrics()
    }

    /// How often a download may begin anew in one run because its source is not what it was.
    private static let restartsMax = 3

    /// - Returns: the object, as R2 itself confirmed it.
    package func run(
        _ id: ClipUID, key: String, source: any TransferSource, journal: any TransferJournal
    ) async throws -> ObjectHead {
        guard spool.take(id) else {
            throw TransferStop.waiting("spool_in_use", "an earlier run of the transfer has not ended yet")
        }
        defer { spool.giveBack(id) }
        var record =
            try await journal.load()
            ?? TransferRecord(
                sourceURL: "", spoolPath: spool.path(of: id), spoolHost: ProcessInfo.processInfo.hostName,
                objectKey: key)
        var restarts = 0
        while record.objectETag == nil {
            do {
                record = try await move(id, record, source: source, journal: journal)
            } catch let restart as SpoolFetch.Restart {
                restarts += 1
                guard restarts <= Self.restartsMax else {
                    throw TransferStop.retryable("download_source", "the MP4 changes while it is being fetched")
                }
                record = try await beginAnew(id, record, restart, journal)
            }
        }
        return try await confirm(record, journal)
    }

    /// The transfer is over: nothing of it is kept.
    package func cleanUp(_ id: ClipUID, journal: any TransferJournal) async {
        spool.remove(id)
        // What is left of the record is swept at the next start.
        try? await journal.forget()
    }

    // MARK: One pass

    private func move(
        _ id: ClipUID, _ known: TransferRecord, source: any TransferSource, journal: any TransferJournal
    ) async throws -> TransferRecord {
        let resumption = try await TransferResumption(id, known, storage: storage, spool: spool, journal: journal)
        metrics.redownloaded(resumption.bytesDropped)
        let run = TransferRun(
            id: id, engine: self, source: source, journal: journal, resumption: resumption)
        var record: TransferRecord
        do {
            record = try await withLiveFigures(
                clock: clock, journal: journal, metrics: metrics, bytes: { run.bytes }
            ) {
                try await run.result()
            }
        } catch is PartPutter.UploadGone {
            record = try await journal.load() ?? known
            record.uploadID = nil
            try await journal.save(record)
            throw TransferStop.retryable("r2_upload_gone", "R2 has the upload no more: it starts anew")
        }
        record.isFetched = true
        try await journal.save(record)
        return record
    }

    private func beginAnew(
        _ id: ClipUID, _ known: TransferRecord, _ restart: SpoolFetch.Restart, _ journal: any TransferJournal
    ) async throws -> TransferRecord {
        // What the run before it has saved since is newer than what it was given.
        var record = try await journal.load() ?? known
        metrics.redownloaded(spool.size(of: id))
        spool.remove(id)
        if !restart.isSameSource {
            if let stale = record.uploadID { try await abort(stale, key: record.objectKey) }
            (record.uploadID, record.partBytes) = (nil, nil)
        }
        (record.sourceETag, record.size, record.isFetched, record.parts) = (nil, nil, false, [])
        try await journal.save(record)
        return record
    }

    private func abort(_ uploadID: String, key: String) async throws {
        do throws(ObjectStorageError) {
            try await storage.abortMultipartUpload(key, uploadID: uploadID)
        } catch {
            throw TransferStop(error)
        }
    }

    // MARK: The last word

    /// R2's own word for the object, which alone makes a clip complete.
    private func confirm(_ known: TransferRecord, _ journal: any TransferJournal) async throws -> ObjectHead {
        let head = try await look(at: known.objectKey)
        if let head, head.size == known.size, ETag.isSame(head.etag ?? "", known.objectETag ?? "") { return head }
        var record = known
        record.objectETag = nil
        try await journal.save(record)
        let found = head.map { "has \($0.size) bytes and the tag \"\($0.etag ?? "")\"" } ?? "is not there"
        throw TransferStop.retryable(
            "r2_unconfirmed",
            "the object \"\(record.objectKey)\" \(found) after it was put; \(record.size ?? 0) bytes were sent")
    }

    package func look(at key: String) async throws -> ObjectHead? {
        do throws(ObjectStorageError) { return try await storage.headObject(key) } catch { throw TransferStop(error) }
    }
}

/// What a new run can build on: which parts R2 has, which the spool has, and where the download goes on.
struct TransferResumption: Sendable {
    var record: TransferRecord
    /// Parts that R2 holds, by number.
    var stored: [Int: CompletedPart] = [:]
    /// Parts that the spool holds, verified by their digests, and that R2 does not.
    var spooled: [TransferPart] = []
    /// Where the download goes on.
    var offset: UInt64 = 0
    /// Everything is fetched.
    var isFetched = false
    /// Bytes that the spool held and that have to be fetched again.
    var bytesDropped: UInt64 = 0

    init(
        _ id: ClipUID, _ known: TransferRecord, storage: S3Client, spool: Spool, journal: any TransferJournal
    ) async throws {
        record = known
        record.spoolPath = spool.path(of: id)
        let present = spool.size(of: id)
        if let plan = known.plan {
            try await takeStock(plan, storage: storage, path: record.spoolPath, present: present)
        }
        if stored.isEmpty, spooled.isEmpty { record.parts = [] }
        record.spoolHost = SpoolHost.current ?? ProcessInfo.processInfo.hostName
        if !isFetched { try prepareSpool(id, spool, present: present) }
        try await journal.save(record)
    }

    private mutating func takeStock(
        _ plan: PartPlan, storage: S3Client, path: String, present: UInt64
    ) async throws {
        let digests = Dictionary(record.parts.map { ($0.number, $0) }) { _, last in last }
        let uploaded = try await askStorage(plan, storage: storage)
        for part in plan.parts {
            guard let digest = digests[part.number] else { continue }
            let there = uploaded[part.number].flatMap { $0.size == part.length ? $0 : nil }
            if let there, ETag.isSame(there.etag, digest.etag) {
                stored[part.number] = CompletedPart(number: part.number, etag: there.etag)
                continue
            }
            guard part.offset + part.length <= present,
                let found = try await Self.digest(path: path, part), found.sha256 == digest.sha256
            else { continue }
            // The process may have died between the answer to a put and its own note of it.
            if let there, ETag.isSame(there.etag, found.md5) {
                stored[part.number] = CompletedPart(number: part.number, etag: there.etag)
            } else {
                let expected = plan.isSinglePut ? found.md5 : ""
                spooled.append(
                    TransferPart(number: part.number, size: part.length, sha256: found.sha256, etag: expected))
            }
        }
        let have = Set(stored.keys).union(spooled.map(\.number))
        guard let first = plan.parts.first(where: { !have.contains($0.number) }) else {
            isFetched = true
            return
        }
        guard record.hasStrongETag else {
            // Without a validator nothing ties the bytes of two downloads together.
            (stored, spooled, record.sourceETag, record.size) = ([:], [], nil, nil)
            return
        }
        // The download writes over whatever lies behind.
        spooled.removeAll { $0.number > first.number }
        record.parts = record.parts.filter { stored[$0.number] != nil || $0.number < first.number }
        let hasFailed = digests[first.number] != nil
        offset = hasFailed ? first.offset : trusted(after: first.offset, present: present, of: plan.objectBytes)
        isFetched = offset == plan.objectBytes
    }

    /// The file's end that no digest covers yet. A process that is killed leaves what it wrote as it is, in memory or
    /// on the disk; only a machine that goes down may not, so it counts while the machine has been up.
    private func trusted(after offset: UInt64, present: UInt64, of total: UInt64) -> UInt64 {
        guard let here = SpoolHost.current, record.spoolHost == here, present > offset else { return offset }
        return min(present, total)
    }

    private mutating func askStorage(_ plan: PartPlan, storage: S3Client) async throws -> [Int: UploadedPart] {
        guard let uploadID = record.uploadID else { return [:] }
        do throws(ObjectStorageError) {
            let parts = try await storage.listParts(record.objectKey, uploadID: uploadID)
            return Dictionary(parts.map { ($0.number, $0) }) { _, last in last }
        } catch {
            guard error.code == .noSuchUpload else { throw TransferStop(error) }
            record.uploadID = nil
            return [:]
        }
    }

    /// Nil for what the file does not hold.
    private static func digest(path: String, _ part: PartPlan.Part) async throws -> FileDigest? {
        do {
            return try await FileDigest.ofFile(path, offset: part.offset, length: part.length)
        } catch is ObjectStorageError {
            return nil
        }
    }

    /// The file is as long as what the download goes on from: parts that only R2 has are a hole in it, which is never
    /// read. What is not trusted is cut off before the record names this machine: a run that ended in between would
    /// leave it to the next one as its own.
    private mutating func prepareSpool(_ id: ClipUID, _ spool: Spool, present: UInt64) throws {
        if present > offset { bytesDropped = present - offset }
        if present != offset { try spool.resize(id, to: offset) }
    }
}

/// Names this machine for as long as it is up.
enum SpoolHost {
    /// Nil where the system does not tell one start of the machine from another.
    static let current: String? = {
        let file = "/proc/sys/kernel/random/boot_id"
        guard let data = try? Data(contentsOf: URL(filePath: file)) else { return nil }
        let boot = String(decoding: data, as: UTF8.self).split(separator: "\n").first ?? ""
        return boot.isEmpty ? nil : "\(ProcessInfo.processInfo.hostName):\(boot)"
    }()
}

extension TransferRecord {
    /// How the object is cut, once its size is known.
    var plan: PartPlan? {
        guard let size, size > 0, let partBytes else { return nil }
        return PartPlan(objectBytes: size, partBytes: partBytes)
    }
}
