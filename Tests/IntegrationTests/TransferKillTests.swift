// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import ObjectStorage
import Testing

/// `kill -9` in the midst of a transfer, and what the next process has to fetch and to put again, by the servers' own
/// counts.
@Suite(.timeLimit(.minutes(20))) struct TransferKillTests {
    @Test(arguments: Tripwire.Side.allCases, [50, 97] as [UInt64])
    func deathCostsOnePartOfEachSideAtMost(side: Tripwire.Side, percent: UInt64) async throws {
        try await TransferScene.run(.large, side, percent: percent) { scene in
            try await Self.dieAndGoOn(scene, parts: 1, "\(side.rawValue) \(percent) %")
        }
    }

    @Test(arguments: Tripwire.Side.allCases, [50, 97] as [UInt64])
    func deathCostsThePartsThatWereOnTheirWay(side: Tripwire.Side, percent: UInt64) async throws {
        try await TransferScene.run(.large, side, percent: percent) { scene in
            try await Self.dieAndGoOn(scene, parts: 3, "\(side.rawValue) \(percent) %")
        }
    }

    private static func dieAndGoOn(_ scene: TransferScene, parts: Int, _ title: String) async throws {
        let concurrency = ["CLIPBRIDGE_PART_CONCURRENCY": "\(parts)"]
        let first = try scene.world.start(scene.command, scene.settings("first", concurrency))
        scene.wire.arm(for: first)
        try await scene.end(of: first)
        let traces = try Traces(scene)

        let again = try await scene.world.run(
            scene.command, scene.settings("second", concurrency), within: TransferScene.limit)
        try #require(again.status == 0, "\(again.error)")
        let line = try TransferLine(again.output)
        try expectTheSourcesBytes(scene, line)
        try expectNothingLeft(scene)
        try expectPaid(scene, traces, line)
        try expectPut(scene, traces, line, partsMax: parts)
        if TransferSize.isByHand { try tell(scene, traces, line, "\(title), \(parts) at a time") }
    }

    /// What a killed process has left.
    private struct Traces {
        var sendings: Int
        var sourceBytes: UInt64
        var spooled: UInt64
        var storageBytes: UInt64
        var stored: Set<Int>

        init(_ scene: TransferScene) throws {
            sendings = scene.source.sendings.count
            sourceBytes = scene.source.bytes
            spooled = scene.spooledBytes
            storageBytes = scene.storage.bytes
            stored = Set(scene.storage.puts.filter(\.isStored).map(\.number))
            #expect(!scene.recordedParts.isEmpty)
        }
    }

    private static func expectTheSourcesBytes(_ scene: TransferScene, _ line: TransferLine) throws {
        #expect(line.json["ok"] == true && line.json["key"] == .string(TransferScene.key))
        #expect(line.json["bytes"] == .integer(Int64(scene.source.size)))
        #expect(try scene.storage.sha256() == scene.source.sha256)
    }

    private static func expectNothingLeft(_ scene: TransferScene) throws {
        #expect(try scene.keptFiles() == [])
        #expect(!scene.storage.hasOpenUpload)
    }

    private static func expectPaid(_ scene: TransferScene, _ traces: Traces, _ line: TransferLine) throws {
        let twice = scene.source.bytes - scene.source.size
        #expect(twice <= scene.size.partBytes, "\(twice) bytes were fetched again")
        let later = scene.source.sendings.dropFirst(traces.sendings)
        // All of it was wanted, so all of it arrived.
        let (received, redownloaded) = (try line.received, try line.redownloaded)
        #expect(received == later.reduce(0) { $0 + $1.bytes })
        let start = later.first?.offset ?? scene.source.size
        #expect(redownloaded == traces.spooled - start)
        // What the source sent twice, but for what never reached the spool: it was in sockets and buffers at the death.
        let unseen = traces.sourceBytes - traces.spooled
        #expect(redownloaded == twice - unseen)
    }

    private static func expectPut(
        _ scene: TransferScene, _ traces: Traces, _ line: TransferLine, partsMax: Int
    ) throws {
        let puts = scene.storage.puts
        let again = puts.reduce(0) { $0 + $1.bytes } - scene.source.size
        #expect(again <= UInt64(partsMax) * scene.size.partBytes, "\(again) bytes were put again")
        let mine = puts.filter { $0.accessKey == "second" }
        let sent = try line.sent
        let taken = mine.reduce(0) { $0 + $1.bytes }
        #expect(sent == taken)
        #expect(mine.allSatisfy { $0.isStored && !traces.stored.contains($0.number) })
        let plan = PartPlan(objectBytes: scene.source.size, partBytes: scene.size.partBytes)
        #expect(traces.stored.union(mine.map(\.number)) == Set(1...plan.count))
        #expect(traces.stored.count + mine.count == plan.count)
        #expect(puts.count <= plan.count + partsMax)
    }

    /// For a run by hand, of which somebody wants the figures.
    private static func tell(
        _ scene: TransferScene, _ traces: Traces, _ line: TransferLine, _ title: String
    ) throws {
        let fetched = scene.source.bytes - scene.source.size
        let put = scene.storage.bytes - scene.source.size
        print(
            "\(title): at the death \(traces.sourceBytes) bytes sent by the source, \(traces.storageBytes) taken by the",
            "storage; fetched again \(fetched), put again \(put); redownloaded_bytes \(try line.redownloaded), never in",
            "the spool \(traces.sourceBytes - traces.spooled)")
    }

    // MARK: Other losses

    @Test func whatADamagedSpoolCostsIsCounted() async throws {
        try await TransferScene.run(.small) { scene in
            // No part gets to the storage, so that all of them have to be taken from the spool.
            let slow = ["CLIPBRIDGE_BANDWIDTH": "1G:1k"]
            let first = try scene.world.start(scene.command, scene.settings("first", slow))
            try await until("the digests of four parts") {
                try #require(first.isRunning, "\(first.error)")
                return scene.recordedParts.count == 4
            }
            try await first.killed()
            let offset = scene.size.partBytes
            let spool = try #require(scene.spoolFile.flatMap { FileHandle(forUpdatingAtPath: $0) })
            try spool.seek(toOffset: offset + 1_000)
            try spool.write(contentsOf: Data("damage".utf8))
            try spool.close()

            let again = try await scene.world.run(scene.command, scene.settings("second"))
            try #require(again.status == 0, "\(again.error)")
            let line = try TransferLine(again.output)
            try Self.expectTheSourcesBytes(scene, line)
            #expect(scene.source.sendings.map(\.offset) == [0, offset])
            #expect(try line.redownloaded == scene.source.size - offset)
            #expect(scene.source.bytes == scene.source.size + (try line.redownloaded))
        }
    }

    // MARK: In a bridge

    @Test(arguments: [50, 97] as [UInt64])
    func deathOfABridgeCostsAtMostOnePartMoreToPut(percent: UInt64) async throws {
        let size = TransferSize(bytes: 40_000_000)
        try await TransferScene.run(size, .upload, percent: percent) { scene in
            let world = scene.world
            let settings = scene.settings("bridge", ["CLIPBRIDGE_PART_CONCURRENCY": "1"])
            // Half-way the download falls silent with the fourth part, which brings the puts to one half: so the
            // process dies in the midst of both. At the end the last part has come, and all before it.
            let stall = ["--fault", "route=mp4,kind=stall,after=20MiB,count=1"]
            let sandbox = try await world.sandbox(percent == 50 ? stall : [])
            let bridge = try await world.bridge(sandbox, settings)
            scene.wire.arm(for: bridge.program)
            let uid = try await sandbox.copy("sample:\(size.bytes)")
            try await bridge.register(uid)
            try await scene.end(of: bridge.program)
            let stored = scene.storage.puts.filter(\.isStored).map(\.number)

            try await world.restart(bridge, sandbox, settings).clip(uid, reaches: .complete)
            #expect(try scene.storage.sha256() == (try await sandbox.source(of: uid)).sha256)
            #expect(!scene.storage.hasOpenUpload && scene.storage.uploadsOpened == 1)
            // The spool held every byte that had been sent, and none of them was asked for again.
            let downloads = try await sandbox.downloads(of: uid)
            #expect(downloads.full == 1 && downloads.bytes == Int64(size.bytes), "\(downloads)")
            #expect(downloads.ranges == (percent == 50 ? 1 : 0), "\(downloads)")
            #expect(scene.storage.bytes <= size.bytes + size.partBytes)
            for number in stored { #expect(scene.storage.puts.count { $0.number == number } == 1) }
        }
    }
}
