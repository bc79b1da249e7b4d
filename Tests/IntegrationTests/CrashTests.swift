// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import NIOConcurrencyHelpers
import Testing

/// `kill -9` and a restart on the same files.
@Suite(.timeLimit(.minutes(10))) struct CrashTests {
    @Test func clipSurvivesADeathInEveryStage() async throws {
        try await World.run { world in
            // The first download falls silent behind the first part, and so does the put of the second part, which
            // keeps the process there until it is killed.
            let sandbox = try await world.sandbox(
                [
                    "--fault", "route=mp4,kind=stall,after=20MiB,count=1", "--fault",
                    "route=part,kind=stall,skip=1,count=1",
                ],
                speed: 10)
            let settings = ["CLIPBRIDGE_PART_CONCURRENCY": "1"]
            var bridge = try await world.bridge(sandbox, settings)
            let uid = try await sandbox.copy("sample:40MB")
            try await bridge.register(uid)
            func dieAndRestart() async throws {
                try await bridge.program.killed()
                bridge = try await world.restart(bridge, sandbox, settings)
            }

            try await bridge.clip(uid, reachesOneOf: [.queued, .processing])
            try await dieAndRestart()
            try await bridge.clip(uid, reachesOneOf: [.waitForMP4, .mp4Processing])
            try await dieAndRestart()

            try await until("the first part") { try await sandbox.partsOfUpload(of: uid) == 1 }
            try await dieAndRestart()

            // Whole, and every part of it known by its digest: from here on nothing has to be fetched again.
            try await until("the whole MP4 in the spool") { world.spooledBytes(of: uid) == 40_000_000 }
            try await until("the digests of three parts") {
                try await world.query("SELECT count(*) FROM clipbridge_transfer_parts") == "3"
            }
            try await bridge.clip(uid, reaches: .r2Uploading)
            let fetched = try await sandbox.downloads(of: uid)
            try await dieAndRestart()

            let clip = try await bridge.clip(uid, reaches: .complete)
            expectOnlyForward(clip.history)
            let source = try await sandbox.source(of: uid)
            #expect(try await world.download(try #require(clip.detail(.r2PublicURL))) == source)
            // A death costs one part of the download at most, and never a new one.
            #expect(fetched.full == 1 && fetched.ranges == 1, "\(fetched)")
            #expect(fetched.bytes <= 40_000_000 + 16 << 20, "\(fetched)")
            #expect(try await sandbox.downloads(of: uid) == fetched)
            #expect(try await world.run(["store", "verify"]).status == 0)
            #expect(try FileManager.default.contentsOfDirectory(atPath: world.path("spool")).isEmpty)
        }
    }

    @Test(arguments: [1, 2]) func nothingIsLostWheneverTheProcessDies(seed: UInt64) async throws {
        try await World.run { world in
            // Slow enough that many of the deaths fall into transfers.
            let slow = ["--fault", "route=mp4,latency=400ms", "--fault", "route=s3,latency=150ms"]
            let sandbox = try await world.sandbox(["--seed", "\(seed)"] + slow, speed: 6)
            var bridge = try await world.bridge(sandbox)
            try await sandbox.subscribe(bridge)
            var uids: [String] = []
            for size in ["1MB", "6MB", "40MB", "17MB"] { uids.append(try await sandbox.copy("sample:\(size)")) }
            for uid in uids.dropLast() { try await bridge.register(uid) }

            let sender = DeliverySender(bridge: bridge, uids: uids, secret: sandbox.secret)
            var random = SeededNumbers(state: seed)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await sender.run() }
                defer { group.cancelAll() }
                for _ in 0..<10 {
                    let goal = sender.acknowledged.count + Int.random(in: 1...40, using: &random)
                    try await until("\(goal) answers") { sender.acknowledged.count >= goal }
                    try await bridge.program.killed()
                    bridge = try await world.restart(bridge, sandbox)
                }
            }

            for uid in uids {
                let clip = try await completed(uid, bridge)
                expectOnlyForward(clip.history)
                let object = try await world.download(try #require(clip.detail(.r2PublicURL)))
                #expect(try await object == sandbox.source(of: uid))
            }
            let stored = try await bridge.deliveries()
            let lost = sender.acknowledged.subtracting(stored)
            #expect(lost.isEmpty, "\(lost.count) of \(sender.acknowledged.count) answered deliveries are gone")
            #expect(try await world.run(["store", "verify"]).status == 0)
        }
    }

    /// The clip at its end. Three lives in a row may have been too short for any step: then it is set aside, and
    /// retried as by an operator.
    private func completed(_ uid: String, _ bridge: BridgeProcess) async throws -> BridgeProcess.Clip {
        let end = try await until("the end of clip \(uid)") { () -> BridgeProcess.Clip? in
            let clip = try await bridge.clip(uid)
            return ["complete", "error"].contains(clip?.status) ? clip : nil
        }
        if end.status == "complete" { return end }
        try #require(end.detail(.errorCode) == "quarantined", "\(end.detail(.errorMessage) ?? "")")
        let retried = try await bridge.post("/api/clips/\(uid)/retry", [:])
        #expect(retried.status == 202)
        return try await bridge.clip(uid, reaches: .complete)
    }
}

/// Sends deliveries about some clips, each with another body, and remembers which were answered with 200.
private final class DeliverySender: Sendable {
    private let bridge: BridgeProcess
    private let uids: [String]
    private let secret: String
    private let answered = NIOLockedValueBox<Set<String>>([])

    init(bridge: BridgeProcess, uids: [String], secret: String) {
        self.bridge = bridge
        self.uids = uids
        self.secret = secret
    }

    var acknowledged: Set<String> { answered.withLockedValue { $0 } }

    /// Until it is cancelled; what is not answered is as lost as Cloudflare's would be.
    func run() async throws {
        var number = 0
        while !Task.isCancelled {
            number += 1
            let body: JSONValue = [
                "uid": .string(uids[number % uids.count]), "number": .integer(Int64(number)),
                "status": ["state": "inprogress", "pctComplete": .string("\(number % 100).000000")],
            ]
            let answer = try? await bridge.deliver(body.bytes, secret: secret)
            guard answer?.status == 200, let id = answer?["delivery"]?.stringValue else {
                try await letPass(.milliseconds(20))
                continue
            }
            answered.withLockedValue { _ = $0.insert(id) }
        }
    }
}

/// Steele, Lea and Flood's SplitMix64.
private struct SeededNumbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
