// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import Hummingbird

extension OperatorAPI {
    func explain(_ uid: ClipUID) async throws -> Response {
        let (clip, history) = try await store.read { (try $0.clip(uid), try $0.history(of: uid)) }
        guard let clip else { throw Problem.unknownClip(uid.rawValue) }
        let text = Explanation(clip: clip, history: history, now: clock.now(), policy: policy).text
        return .json([
            "clip": clip.json, "history": .array(history.map(\.json)), "lease": Self.json(clip.work?.lease),
            "next_action": clip.nextAction, "text": .string(text),
        ])
    }

    private static func json(_ lease: Lease?) -> JSONValue {
        guard let lease else { return .null }
        return ["owner": .string(lease.owner), "until": JSONValue(lease.until), "epoch": .integer(lease.epoch)]
    }
}

/// Says in words how a clip came to where it is and what happens next.
struct Explanation {
    var clip: ClipRecord
    var history: [LedgerEntry]
    var now: Timestamp
    var policy: LifecyclePolicy

    var text: String {
        ([present] + history.map(sentence) + [next]).joined(separator: "\n")
    }

    private var present: String {
        let word = clip.statusWord.map { "\"\($0)\"" } ?? "no status"
        guard let status = clip.status else {
            return "Clip \(clip.uid) is in \(word), which is none of our statuses: it is left alone."
        }
        let why = clip.details[.errorMessage]?.stringValue.map { " Last error: \($0)." } ?? ""
        return "Clip \(clip.uid) is in \(word) (\(status.message)) at \(clip.progress) %, since \(since).\(why)"
    }

    private var since: String { statusSince.rfc3339 }

    var statusSince: Timestamp { history.last { $0.outcome == .applied }?.at ?? clip.createdAt }

    private func sentence(_ entry: LedgerEntry) -> String {
        let asked =
            entry.signal.request == .retry ? "a retry" : "\"\(entry.requestedStatus ?? "")\""
        return "\(entry.at.rfc3339) #\(entry.seq): \(Self.speaker(entry.signal.source)) asked for \(asked): "
            + "\(decision(entry))."
    }

    static func speaker(_ source: SignalSource) -> String {
        switch source {
        case .webhook: "a webhook delivery"
        case .poll: "an inquiry at Cloudflare"
        case .pipeline: "our own pipeline"
        case .operator: "an operator"
        case .external: "another program"
        }
    }

    /// What became of an entry, and why.
    func decision(_ entry: LedgerEntry) -> String {
        switch (entry.outcome, entry.reason) {
        case (nil, _): "not decided yet"
        case (.applied, _): entry.from.map { "applied, from \"\($0.rawValue)\"" } ?? "applied, and the clip was created"
        case (.merged, _): "the clip was there already, its details were taken"
        case (.rejected, .backward):
            "rejected, because the clip was in \"\(entry.from?.rawValue ?? "")\" and goes only forward"
        case (.rejected, .terminal):
            "rejected, because the clip was in \"\(entry.from?.rawValue ?? "")\", which is final"
        case (.rejected, .unknownClip): "rejected, because there was no such clip and none could be created"
        case (.rejected, .unknownStatus):
            "rejected, because the word or the row's own status is none of ours, or the table does not take it"
        case (.rejected, nil): "rejected"
        }
    }

    /// What is done next and when.
    var next: String {
        guard let work = clip.work else {
            switch clip.status {
            case .complete: return "Nothing more is to be done."
            case .error: return "Nothing is done until an operator retries it."
            case .streamReady: return "An operator has to ask for the MP4, because CLIPBRIDGE_AUTO_MP4 is off."
            default: return "Nothing is planned."
            }
        }
        let what = Self.words(work.action)
        if let lease = work.lease { return "Next: \(what), which \(lease.owner) is doing now." }
        let attempt = work.attempt > 0 ? ", attempt \(work.attempt + 1)" : ""
        let when = work.dueAt <= now ? "now" : "at \(work.dueAt.rfc3339)"
        return "Next: \(what) \(when)\(attempt).\(deadline(work))"
    }

    private func deadline(_ work: Work) -> String {
        guard let stage = clip.status?.stage, let limit = policy.deadline(of: stage) else { return "" }
        return " The deadline of this stage is \((work.stageEnteredAt + limit).rfc3339)."
    }

    private static func words(_ action: Action) -> String {
        switch action {
        case .checkVideo: "Cloudflare is asked where the video is"
        case .requestMP4: "Cloudflare is asked to make the MP4"
        case .checkMP4: "Cloudflare is asked how far the MP4 is"
        case .transfer: "the MP4 is moved to R2"
        }
    }
}
