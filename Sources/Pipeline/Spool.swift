// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import Foundation
import NIOConcurrencyHelpers

/// The folder that holds MP4s between download and put, and how full it may get.
package final class Spool: Sendable {
    /// Why there is no room.
    package enum Refusal: Error, Sendable, Equatable {
        /// Larger than the whole spool may ever be.
        case neverFits(wanted: UInt64, limit: UInt64)
        /// The others have to go first.
        case noRoom(wanted: UInt64, free: UInt64)
    }

    /// Left free on the disk, so that the database can always go on.
    private static let diskReserve: UInt64 = 64 << 20
    private static let suffix = ".mp4.spool"

    package let folder: String
    package let bytesMax: UInt64
    private let reserved = NIOLockedValueBox<[ClipUID: UInt64]>([:])
    /// Clips whose files a run is at.
    private let taken = NIOLockedValueBox<Set<ClipUID>>([])

    package init(folder: String, bytesMax: UInt64) {
        self.folder = folder
        self.bytesMax = bytesMax
    }

    /// Creates the folder, for its owner alone.
    package func prepare() throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    package func path(of uid: ClipUID) -> String { "\(folder)/\(uid)\(Self.suffix)" }

    /// The length of a clip's spool file; 0 where there is none.
    package func size(of uid: ClipUID) -> UInt64 { Self.size(at: path(of: uid)) }

    package func remove(_ uid: ClipUID) {
        try? FileManager.default.removeItem(atPath: path(of: uid))
        release(uid)
    }

    /// Gives a clip's file to one run. A lease that ran out while the process stood still may be claimed again here
    /// before its first holder hears of it, and two that write one file would make a whole of two halves.
    /// - Returns: false while another run has it.
    package func take(_ uid: ClipUID) -> Bool { taken.withLockedValue { $0.insert(uid).inserted } }

    package func giveBack(_ uid: ClipUID) {
        _ = taken.withLockedValue { $0.remove(uid) }
        release(uid)
    }

    /// Cuts the file to this length, or makes it as long, with a hole behind what it holds.
    func resize(_ uid: ClipUID, to bytes: UInt64) throws {
        let path = path(of: uid)
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600])
        }
        guard let file = FileHandle(forWritingAtPath: path) else {
            throw TransferStop.waiting("spool_unwritable", "the spool file \"\(path)\" can not be written")
        }
        defer { try? file.close() }
        try file.truncate(atOffset: bytes)
    }

    /// Sets room aside for a clip's whole MP4, of which some may be there already.
    ///
    /// A download that begins anew also gives way to the files of clips that wait for their next try. One that goes on
    /// does not: else two that have begun could wait for each other.
    package func reserve(_ bytes: UInt64, for uid: ClipUID) throws(Refusal) {
        let files = sizes()
        let present = files[uid] ?? 0
        let diskFree = Self.diskFree(folder)
        let refusal: Refusal? = reserved.withLockedValue { reserved in
            if bytes > bytesMax { return .neverFits(wanted: bytes, limit: bytesMax) }
            let running = reserved.filter { $0.key != uid }
            let idle = files.filter { $0.key != uid && running[$0.key] == nil }
            let others = running.values.reduce(0, +) + (present == 0 ? idle.values.reduce(0, +) : 0)
            let room = bytesMax > others ? bytesMax - others : 0
            if bytes > room { return .noRoom(wanted: bytes, free: room) }
            // What the others have set aside and not yet written is not free either.
            let promised = running.map { $0.value - min($0.value, files[$0.key] ?? 0) }.reduce(Self.diskReserve, +)
            let missing = bytes - min(bytes, present)
            if let diskFree, missing + promised > diskFree {
                return .noRoom(wanted: missing, free: diskFree - min(diskFree, promised))
            }
            reserved[uid] = bytes
            return nil
        }
        if let refusal { throw refusal }
    }

    package func release(_ uid: ClipUID) { reserved.withLockedValue { $0[uid] = nil } }

    /// Removes spool files of clips that `needed` does not name. Nothing that has not our name is touched.
    /// - Parameter needed: asked once the files are known: what another process on the folder begins after that is not
    ///   among them.
    package func sweep(needed: () async throws -> Set<ClipUID>) async rethrows -> Int {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let files = Set(names.compactMap(Self.uid))
        let stale = try await files.subtracting(needed())
        stale.forEach(remove)
        return stale.count
    }

    /// What the folder's spool files take.
    package func bytesUsed() -> UInt64 { sizes().values.reduce(0, +) }

    private func sizes() -> [ClipUID: UInt64] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return Dictionary(names.compactMap(Self.uid).map { ($0, size(of: $0)) }) { first, _ in first }
    }

    private static func uid(_ name: String) -> ClipUID? {
        name.hasSuffix(suffix) ? ClipUID(name.dropLast(suffix.count)) : nil
    }

    private static func size(at path: String) -> UInt64 {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        return (attributes?[.size] as? NSNumber)?.uint64Value ?? 0
    }

    private static func diskFree(_ folder: String) -> UInt64? {
        let attributes = try? FileManager.default.attributesOfFileSystem(forPath: folder)
        return (attributes?[.systemFreeSize] as? NSNumber)?.uint64Value
    }
}
