// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Pipeline

@Suite struct SpoolTests {
    private func name(_ number: Int) -> String { "\(uid(number)).mp4.spool" }

    @Test func folderIsItsOwnersAlone() throws {
        let folder = try Folder()
        let spool = Spool(folder: "\(folder.path)/a/b", bytesMax: 100)
        try spool.prepare()
        try spool.prepare()
        let attributes = try FileManager.default.attributesOfItem(atPath: spool.folder)
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o700)
    }

    @Test func whatCanNeverFitIsTold() throws {
        let folder = try Folder()
        let spool = Spool(folder: folder.path, bytesMax: 100)
        #expect(throws: Spool.Refusal.neverFits(wanted: 101, limit: 100)) { try spool.reserve(101, for: uid(1)) }
        try spool.reserve(100, for: uid(1))
    }

    @Test func roomIsSharedAndGivenBack() throws {
        let folder = try Folder()
        let spool = Spool(folder: folder.path, bytesMax: 100)
        try spool.reserve(60, for: uid(1))
        #expect(throws: Spool.Refusal.noRoom(wanted: 50, free: 40)) { try spool.reserve(50, for: uid(2)) }
        try spool.reserve(40, for: uid(2))
        try spool.reserve(60, for: uid(1))
        spool.release(uid(1))
        try spool.reserve(60, for: uid(3))
    }

    @Test func filesOfClipsThatWaitTakeRoomFromThoseThatBegin() throws {
        let folder = try Folder()
        let spool = Spool(folder: folder.path, bytesMax: 100)
        folder.write([UInt8](repeating: 1, count: 70), to: name(1))
        #expect(throws: Spool.Refusal.noRoom(wanted: 50, free: 30)) { try spool.reserve(50, for: uid(2)) }
        try spool.reserve(100, for: uid(1))
    }

    /// Else they would wait for each other for ever.
    @Test func downloadsThatHaveBegunDoNotWaitForEachOthersFiles() throws {
        let folder = try Folder()
        let spool = Spool(folder: folder.path, bytesMax: 100)
        folder.write([UInt8](repeating: 1, count: 50), to: name(1))
        folder.write([UInt8](repeating: 1, count: 50), to: name(2))
        try spool.reserve(90, for: uid(1))
        #expect(throws: Spool.Refusal.noRoom(wanted: 90, free: 10)) { try spool.reserve(90, for: uid(2)) }
    }

    @Test func diskThatIsTooSmallIsTold() throws {
        let folder = try Folder()
        let spool = Spool(folder: folder.path, bytesMax: .max)
        #expect {
            try spool.reserve(1 << 60, for: uid(1))
        } throws: { error in
            guard case .noRoom(_, let free)? = error as? Spool.Refusal else { return false }
            return free < 1 << 60
        }
    }

    @Test func sweepTouchesNothingButItsOwnStaleFiles() async throws {
        let folder = try Folder()
        let spool = Spool(folder: folder.path, bytesMax: 100)
        let kept = ["notes.txt", "a b.mp4.spool", "\(uid(3)).mp4", ".mp4.spool"]
        for name in [name(1), name(2)] + kept { folder.write([1, 2, 3], to: name) }
        #expect(await spool.sweep { [uid(1)] } == 1)
        #expect(folder.names == (kept + [name(1)]).sorted())
        #expect(spool.bytesUsed() == 3)
        #expect(spool.size(of: uid(1)) == 3)
        #expect(spool.size(of: uid(2)) == 0)
    }

    @Test func missingFolderIsEmpty() async throws {
        let spool = Spool(folder: "/nonexistent/clipbridge", bytesMax: 100)
        #expect(await spool.sweep { [] } == 0)
        #expect(spool.bytesUsed() == 0)
        #expect(throws: (any Error).self) { try Spool(folder: "/proc/clipbridge", bytesMax: 1).prepare() }
    }
}
