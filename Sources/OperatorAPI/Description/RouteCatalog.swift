// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// The routes' descriptions; `OperatorAPI` names one for each route that it serves.
extension RouteDescription {
    static let health = RouteDescription(
        id: "health", summary: "The process is alive", answers: [200: .json("It is", "health")], isOpen: true)

    static let readiness = RouteDescription(
        id: "readiness", summary: "The store is reachable and has its schema", answers: [200: .json("It is", "health")],
        isOpen: true)

    static let metrics = RouteDescription(
        id: "metrics", summary: "Metrics as Prometheus reads them",
        answers: [
            200: Answer(
                text: "Prometheus' text format 0.0.4", schema: ["type": "string"],
                contentType: "text/plain; version=0.0.4; charset=utf-8")
        ], isOpen: true)

    static let description = RouteDescription(
        id: "description", summary: "This description",
        answers: [200: Answer(text: "An OpenAPI 3.1 document", schema: ["type": "object"])], isOpen: true)

    static let listClips = RouteDescription(
        id: "listClips", summary: "Clips, newest change first", parameters: [.status, .limit, .cursor],
        answers: [200: .json("A page", "clips")], problems: [400])

    static let registerClip = RouteDescription(
        id: "registerClip", summary: "Makes a clip known", body: .schema("registration"),
        answers: [200: .json("It was known", "clip"), 201: .json("It is known now", "clip")], problems: [409])

    static let showClip = RouteDescription(
        id: "showClip", summary: "A clip with its history", parameters: [.uid],
        answers: [200: .json("The clip", "clip_with_history")], problems: [404])

    static let signal = RouteDescription(
        id: "signal", summary: "Asks for a status", parameters: [.uid], body: .schema("request"),
        answers: [202: .json("The ledger's entry, which says what became of it", "entry")], problems: [404])

    static let retry = RouteDescription(
        id: "retry", summary: "Returns a clip from error to where it failed", parameters: [.uid],
        answers: [202: .json("The clip", "clip")], problems: [404, 409])

    static let explain = RouteDescription(
        id: "explain", summary: "Why a clip is where it is, and what comes next", parameters: [.uid],
        answers: [200: .json("In words, and the facts behind them", "explanation")], problems: [404])

    static let enableMP4 = RouteDescription(
        id: "enableMP4", summary: "Has a clip's MP4 made", body: .schema("video"),
        answers: [200: .json("It was asked for already", "progress"), 202: .json("It is being asked for", "progress")],
        problems: [404, 409, 502])

    static let uploadToR2 = RouteDescription(
        id: "uploadToR2", summary: "Makes the next step towards R2 due now", body: .schema("video"),
        answers: [200: .json("The clip is complete", "progress"), 202: .json("It is due", "progress")],
        problems: [404, 409])

    static let listDeliveries = RouteDescription(
        id: "listDeliveries", summary: "Stored webhooks, newest first", parameters: [.uidFilter, .limit, .cursor],
        answers: [200: .json("A page", "deliveries")], problems: [400])

    static let showDelivery = RouteDescription(
        id: "showDelivery", summary: "A stored webhook with its body", parameters: [.delivery],
        answers: [200: .json("The delivery", "delivery_with_body")], problems: [404])

    static let replayDelivery = RouteDescription(
        id: "replayDelivery", summary: "Feeds a stored webhook through again", parameters: [.delivery],
        answers: [202: .json("What it was taken for", "replayed")], problems: [404])

    static let events = RouteDescription(
        id: "events", summary: "Clips as they change, as Server-Sent Events", parameters: [.lastEventID],
        answers: [
            200: Answer(
                text: "event: clip, data: a clip, id: the number of its change", schema: ["type": "string"],
                contentType: "text/event-stream")
        ], problems: [400])
}
