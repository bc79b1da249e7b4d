// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import HTTPTypes
import Hummingbird

extension OperatorAPI {
    func listClips(_ request: Request) async throws -> Response {
        let limit = try request.limit()
        let cursor = try request.cursor()
        var status: ClipStatus?
        if let word = request.uri.queryParameters["status"], !word.isEmpty {
            guard let known = ClipStatus(rawValue: String(word)) else {
                let known = ClipStatus.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem.badRequest("\"status\" is \"\(word.prefix(32))\"; it is one of \(known)")
            }
            status = known
        }
        let clips = try await store.read { [status] in
            try $0.clips(status: status, before: cursor, limit: limit + 1)
        }
        return page(clips, limit: limit, name: "clips", cursor: \.changeSeq, json: \.json)
    }

    func registerClip(_ request: Request) async throws -> Response {
        let body = try await request.jsonObject()
        let uid = try body.uid("uid")
        let details = try body.details()
        var status = ClipStatus.uploading
        if let value = body["status"], value != .null {
            guard let known = value.stringValue.flatMap(ClipStatus.init(rawValue:)), known != .error else {
                throw Problem.badRequest("\"status\" is none that a clip can be registered at")
            }
            status = known
        }
        // A row that the bridge has not met yet is taken into the ledger first, by the registration itself.
        if let known = try await store.read({ try $0.clip(uid) }), known.isMet { return .json(known.json) }
        let entry = try await actions.register(
            Signal(uid: uid, source: .operator, status: status, details: details))
        if entry.reason == .unknownClip {
            throw Problem.conflict("the clips table does not let the row be created: see the log for the column")
        }
        // Whoever was quicker has created it: known is known.
        let isNew = entry.outcome == .applied && entry.from == nil
        return .json(try await clip(uid).json, status: isNew ? .created : .ok)
    }

    func showClip(_ uid: ClipUID) async throws -> Response {
        let (clip, history) = try await store.read { (try $0.clip(uid), try $0.history(of: uid)) }
        guard let clip else { throw Problem.unknownClip(uid.rawValue) }
        var members = clip.members
        members["history"] = .array(history.map(\.json))
        return .json(.object(members))
    }

    /// A signal that is rejected is an answer too: it is in the ledger, and its entry says why.
    func signal(_ request: Request, _ uid: ClipUID) async throws -> Response {
        let body = try await request.jsonObject()
        let word = try body.text("requested_status")
        let signal = Signal(
            uid: uid, source: .operator, request: .init(requestedStatus: word), details: try body.details())
        return .json(try await actions.submit(signal).json, status: .accepted)
    }

    func retry(_ uid: ClipUID) async throws -> Response {
        let before = try await clip(uid)
        guard before.status == .error else {
            throw Problem.conflict(
                "the clip is in \"\(before.statusWord ?? "null")\": only a clip in \"error\" can be retried")
        }
        let entry = try await actions.submit(Signal(uid: uid, source: .operator, request: .retry))
        guard entry.outcome == .applied else {
            throw Problem.conflict("the clip is not in \"error\" any more")
        }
        return .json(try await clip(uid).json, status: .accepted)
    }

    // MARK: Deliveries

    func listDeliveries(_ request: Request) async throws -> Response {
        let (limit, cursor, uid) = (try request.limit(), try request.cursor(), try request.uidFilter())
        let found = try await store.read { try $0.deliveries(uid: uid, before: cursor, limit: limit + 1) }
        return page(found, limit: limit, name: "deliveries", cursor: \.id, json: \.summary)
    }

    func showDelivery(_ id: Int64) async throws -> Response { .json(try await delivery(id).json) }

    /// Feeds a delivery through again, past the duplicate check: its signal is taken as one that has just come.
    func replayDelivery(_ id: Int64) async throws -> Response {
        let (outcome, signal) = actions.interpret(try await delivery(id).body)
        if var signal {
            signal.trace = .current
            let now = clock.now()
            try await store.write { [signal] in try LedgerScript.replay(signal, delivery: id, at: now, in: $0) }
            actions.wake()
        }
        return .json(
            ["delivery": .string(String(id)), "outcome": .string(outcome.rawValue)], status: .accepted)
    }

    func delivery(_ id: Int64) async throws -> DeliveryRecord {
        guard let delivery = try await store.read({ try $0.delivery(id) }) else {
            throw Problem.notFound("there is no delivery \"\(id)\"")
        }
        return delivery
    }
}
