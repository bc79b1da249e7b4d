// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Testing

@Suite struct ClipStateMachineTests {
    private static let uid = ClipUID("dd5d531a12de0c724bd1275a3b2bc9c6")!

    private func decide(
        _ current: ClipStatus, _ requested: ClipStatus, _ source: SignalSource
    ) -> (ClipStateMachine.Decision, ClipStateMachine) {
        var machine = ClipStateMachine(
            position: .at(current), failedFrom: current == .error ? .queued : nil, progress: current.leastProgress)
        let decision = machine.receive(Signal(uid: Self.uid, source: source, status: requested), createsUnknown: true)
        return (decision, machine)
    }

    /// The contract's table, written down as pairs and not by the machine's own rule.
    private static let allowed: Set<[ClipStatus]> = {
        let way: [ClipStatus] = [
            .uploading, .queued, .processing, .streamReady, .waitForMP4, .mp4Processing, .mp4Downloading, .r2Uploading,
            .complete,
        ]
        var pairs: Set<[ClipStatus]> = [[.mp4Processing, .waitForMP4]]
        for (index, from) in way.enumerated() {
            for to in way[(index + 1)...] { pairs.insert([from, to]) }
            if from != .complete { pairs.insert([from, .error]) }
        }
        return pairs
    }()

    @Test(arguments: ClipStatus.allCases, ClipStatus.allCases)
    func everyPairIsDecidedAsTheContractSays(_ current: ClipStatus, _ requested: ClipStatus) {
        for source in SignalSource.allCases {
            let (decision, machine) = decide(current, requested, source)
            let mayStopFinished =
                current == .complete && requested == .error && [.operator, .external].contains(source)
            if current == requested {
                #expect(decision == .merged(current))
            } else if Self.allowed.contains([current, requested]) || mayStopFinished {
                #expect(decision == .applied(from: current, to: requested))
                #expect(machine.position == .at(requested))
            } else if current == .error || (current == .complete && ![.operator, .external].contains(source)) {
                #expect(decision == .rejected(.terminal))
            } else {
                #expect(decision == .rejected(.backward))
            }
            if case .rejected = decision { #expect(machine.position == .at(current)) }
            #expect(machine.progress >= current.leastProgress || current == .error)
        }
    }

    @Test(arguments: ClipStatus.allCases)
    func retryReturnsToWhereItFailed(_ failedFrom: ClipStatus) {
        guard failedFrom != .error else { return }
        var machine = ClipStateMachine(position: .at(failedFrom), progress: failedFrom.leastProgress)
        _ = machine.receive(Signal(uid: Self.uid, source: .operator, status: .error), createsUnknown: true)
        #expect(machine.failedFrom == failedFrom)
        #expect(machine.progress == failedFrom.leastProgress)
        let retry = Signal(uid: Self.uid, source: .operator, request: .retry)
        let expected: ClipStatus = failedFrom == .complete ? .r2Uploading : failedFrom
        #expect(machine.receive(retry, createsUnknown: true) == .applied(from: .error, to: expected))
        #expect(machine.failedFrom == nil)
        #expect(machine.progress == failedFrom.leastProgress)
        #expect(machine.receive(retry, createsUnknown: true) == .rejected(.backward))
    }

    @Test func absentClipIsCreatedOrRefused() {
        var machine = ClipStateMachine(position: .absent)
        let signal = Signal(uid: Self.uid, source: .webhook, status: .streamReady)
        #expect(machine.receive(signal, createsUnknown: false) == .rejected(.unknownClip))
        #expect(machine.receive(signal, createsUnknown: true) == .applied(from: nil, to: .streamReady))
        #expect(machine.progress == 60)
    }

    @Test func foreignStatusIsLeftAlone() {
        var machine = ClipStateMachine(position: .foreign)
        let signal = Signal(uid: Self.uid, source: .webhook, status: .complete)
        #expect(machine.receive(signal, createsUnknown: true) == .rejected(.unknownStatus))
        #expect(machine.position == .foreign)
    }

    @Test func unknownWordIsRejectedEverywhere() {
        for status in ClipStatus.allCases {
            var machine = ClipStateMachine(position: .at(status))
            let signal = Signal(uid: Self.uid, source: .external, request: .unknown("banana"))
            #expect(machine.receive(signal, createsUnknown: true) == .rejected(.unknownStatus))
        }
    }

    @Test(arguments: [
        (ClipStatus.processing, 0.0, 50.0), (.processing, 45, 54.5), (.processing, 100, 60), (.processing, 900, 60),
        (.mp4Processing, 50, 80), (.mp4Downloading, 50, 90), (.r2Uploading, 100, 100), (.complete, 3, 100),
        (.processing, -5, 50), (.processing, .nan, 50),
    ])
    func percentageMovesProgressWithinItsStatus(_ status: ClipStatus, _ percent: Double, _ expected: Double) {
        #expect(status.progress(percent: percent) == expected)
    }

    @Test(arguments: 0..<200)
    func anyOrderAnyRepetitionGiveTheSameEnd(_ seed: Int) {
        var random = SplitMix64(state: UInt64(seed))
        let story: [ClipStatus] = [.queued, .processing, .streamReady, .waitForMP4, .mp4Downloading, .complete]
        let signals = (story + story).shuffled(using: &random).map {
            Signal(uid: Self.uid, source: .webhook, status: $0, percent: .random(in: 0...100, using: &random))
        }
        var machine = ClipStateMachine(position: .at(.uploading), progress: 15)
        var last = machine
        for signal in signals {
            let decision = machine.receive(signal, createsUnknown: true)
            #expect(machine.progress >= last.progress)
            if case .applied(let from?, let to) = decision { #expect(to > from) }
            last = machine
        }
        #expect(machine.position == .at(.complete))
        #expect(machine.progress == 100)
    }
}

/// Steele, Lea and Flood's SplitMix64: small, seeded, the same everywhere.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
