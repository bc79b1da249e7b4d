// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// What becomes of one clip outside of the bridge.
struct PlannedClip: Sendable {
    /// How the bridge hears of it first.
    enum Introduction: Sendable { case webhook, registration, foreignRow }

    let uid: ClipUID
    let number: Int
    let introduction: Introduction
    let startsAfter: Duration
    let uploadTakes: Duration
    let bytes: Int
    let isPrivate: Bool
    let encodeFails: Bool
    let mp4: String?

    init(_ number: Int, _ scenario: Scenario) {
        let dice = Dice(seed: scenario.seed, purpose: UInt64(1_000 + number))
        let digits = String(number)
        // Thirty-two digits are a valid uid.
        uid = ClipUID(String(repeating: "0", count: 32 - digits.count) + digits)!
        self.number = number
        introduction = dice.pick([.webhook, .webhook, .registration, .registration, .foreignRow])
        startsAfter = dice.duration(0...15)
        uploadTakes = dice.duration(0...5)
        let isLarge = dice.chance(scenario.has(.corruption) ? 0.12 : 0.04)
        let small = dice.int(1_000...300_000)
        bytes = isLarge ? 5 << 20 + small : small
        isPrivate = dice.chance(0.2)
        encodeFails = dice.chance(0.3) && scenario.has(.encodeFailure)
        mp4 = scenario.has(.mp4Failure) ? dice.pick([nil, "error_once", "error"]) : nil
    }

    var isMeantToFail: Bool { encodeFails || mp4 == "error" }

    var meta: [String: JSONValue] {
        var meta: [String: JSONValue] = [:]
        if encodeFails { meta["sandbox_error"] = "ERR_MALFORMED_VIDEO" }
        if let mp4 { meta["sandbox_mp4"] = .string(mp4) }
        return meta
    }
}
