// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import CloudflareStream

/// What may go wrong, or is done from outside.
enum Fault: String, CaseIterable, Sendable {
    case serverError = "5xx"
    case limited = "429"
    case reset
    case lostAnswer = "lost-answer"
    case truncation
    case slowBody = "slow-body"
    case storeError = "store-error"
    case lostCommitAnswer = "lost-commit-answer"
    case crash
    case lostSpool = "lost-spool"
    case powerLoss = "power-loss"
    case pause
    case clockJump = "clock-jump"
    case sourceChange = "source-change"
    case untaggedRanges = "untagged-ranges"
    case vanishingPut = "vanishing-put"
    case corruption
    case webhookLoss = "webhook-loss"
    case webhookDuplicate = "webhook-duplicate"
    case webhookDelay = "webhook-delay"
    case lostWakeup = "lost-wakeup"
    case external
    case `operator`
    case encodeFailure = "encode-failure"
    case mp4Failure = "mp4-failure"
}

enum StoreKind: String, CaseIterable, Sendable, ExpressibleByArgument { case memory, sqlite }

/// What a run is like; all of it follows from the seed, unless something was taken away to make it smaller.
struct Scenario: Sendable {
    var seed: UInt64
    var store: StoreKind
    var variant: Variant?
    var clips: Int
    var replicas: Int
    var faults: Set<Fault>
    /// How likely a fault is where one is possible.
    var rate: Double
    /// Until when there are faults.
    var horizon: Duration
    /// Cloudflare's limit, much smaller than the real one so that it is felt.
    var requestsPerMinute: Double

    init(seed: UInt64, store: StoreKind, variant: Variant? = nil) {
        let dice = Dice(seed: seed, purpose: 1)
        self.seed = seed
        self.store = store
        self.variant = variant
        clips = dice.pick([1, 1, 2, 2, 3, 4, 5])
        replicas = store == .sqlite ? 1 : dice.pick([1, 1, 2, 2, 3])
        let density = dice.pick([0, 0.15, 0.3, 0.3, 0.5, 0.8])
        faults = []
        for fault in Fault.allCases where dice.chance(density) { faults.insert(fault) }
        rate = dice.pick([0.02, 0.05, 0.1, 0.2])
        horizon = dice.duration(15...90)
        requestsPerMinute = dice.pick([30, 60, 120, 1_200])
    }

    func has(_ fault: Fault) -> Bool { faults.contains(fault) }

    var budget: RateBudgetMachine.Limits {
        RateBudgetMachine.Limits(requestsPerWindow: requestsPerMinute, window: .seconds(60), pauseDefault: .seconds(60))
    }

    var policy: LifecyclePolicy {
        LifecyclePolicy(
            pollMax: .seconds(20), uploadDeadline: .seconds(600), encodeDeadline: .seconds(600),
            mp4Deadline: .seconds(300), failureBudget: .seconds(600), waitBudget: .seconds(900), retryMax: .seconds(60))
    }

    /// What replays it.
    var arguments: String {
        let whole = Scenario(seed: seed, store: store)
        var words = ["--seed \(seed)", "--store \(store.rawValue)"]
        if let variant { words.append("--variant \(variant.rawValue)") }
        if clips != whole.clips { words.append("--clips \(clips)") }
        if replicas != whole.replicas { words.append("--replicas \(replicas)") }
        let gone = Fault.allCases.filter { whole.has($0) && !has($0) }
        words += gone.map { "--without \($0.rawValue)" }
        return words.joined(separator: " ")
    }

    var description: String {
        let names = Fault.allCases.filter(has).map(\.rawValue).joined(separator: ", ")
        return "\(clips) clips, \(replicas) replicas, \(names.isEmpty ? "no faults" : names)"
    }

    /// The same with one thing less, the most telling first.
    var smaller: [Scenario] {
        var found: [Scenario] = []
        for fault in Fault.allCases where has(fault) {
            var less = self
            less.faults.remove(fault)
            found.append(less)
        }
        if clips > 1 {
            var less = self
            less.clips -= 1
            found.append(less)
        }
        if replicas > 1 {
            var less = self
            less.replicas -= 1
            found.append(less)
        }
        return found
    }
}
