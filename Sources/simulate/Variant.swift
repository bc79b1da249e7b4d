// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// A bridge that is broken on purpose, by what the world gives to its parts: the simulation has to catch each.
enum Variant: String, CaseIterable, Sendable, ExpressibleByArgument {
    /// A delivery is acknowledged before it is stored.
    case acknowledgeEarly = "acknowledge-early"
    /// A write is lost although it was confirmed.
    case loseCommit = "lose-commit"
    /// A repeated body is looked for, and then inserted.
    case checkThenInsert = "check-then-insert"
    /// A signal for the status right before the present one is let through.
    case stepBack = "step-back"
    /// A row is read as it was before its last change.
    case staleRead = "stale-read"
    /// Progress begins anew with each status.
    case progressAnew = "progress-anew"
    /// A decision is not put down.
    case forgetDecision = "forget-decision"
    /// All leases have the same epoch.
    case forgetEpoch = "forget-epoch"
    /// Leases are not prolonged.
    case forgetRenewal = "forget-renewal"
    /// What is leased is handed out again.
    case claimLeased = "claim-leased"
    /// Work for an MP4 that is awaited is not kept.
    case forgetWork = "forget-work"
    /// A broken download is gone on with, whatever the source has become.
    case dropIfRange = "drop-if-range"
    /// The spool's end is believed after a power loss.
    case trustSpool = "trust-spool"
    /// An object counts as stored without R2's word.
    case assumeObject = "assume-object"
    /// Cloudflare's request limit is not kept.
    case ignoreBudget = "ignore-budget"
    /// A 429 of Cloudflare's API holds nobody back.
    case ignoreLimit = "ignore-limit"
    /// What a host asks to wait is not heard.
    case dropRetryAfter = "drop-retry-after"
    /// What changes something is sent twice.
    case sendTwice = "send-twice"
    /// The parts of a resumed object are put under hashes that nobody checks.
    case unsignedPayload = "unsigned-payload"
}
