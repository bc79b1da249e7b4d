// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes

/// What a route takes and answers, in OpenAPI's words. Routes are made with it, so that none is served that is not
/// described.
struct RouteDescription: Sendable {
    struct Parameter: Sendable {
        var name: String
        /// `path`, `query` or `header`.
        var place: String
        var text: String
        var schema: JSONValue
    }

    struct Answer: Sendable {
        var text: String
        /// Nil for an answer without a body that is described.
        var schema: JSONValue?
        var contentType = "application/json"
    }

    /// OpenAPI's `operationId`.
    var id: String
    var summary: String
    var parameters: [Parameter] = []
    var body: JSONValue?
    var answers: [Int: Answer]
    /// Statuses that are answered with problem details.
    var problems: Set<Int> = []
    var isOpen = false

    fileprivate func json() -> JSONValue {
        var members: [String: JSONValue] = ["operationId": .string(id), "summary": .string(summary)]
        if !parameters.isEmpty { members["parameters"] = .array(parameters.map(\.json)) }
        if let body {
            members["requestBody"] = ["required": true, "content": ["application/json": ["schema": body]]]
        }
        var responses: [String: JSONValue] = [:]
        for (status, answer) in answers { responses[String(status)] = answer.json }
        for status in allProblems {
            responses[String(status)] = ["$ref": "#/components/responses/problem"]
        }
        members["responses"] = .object(responses)
        if isOpen { members["security"] = [] }
        return .object(members)
    }

    /// With those that every route may answer with.
    private var allProblems: Set<Int> {
        var all = problems.union([503])
        if !isOpen { all.formUnion([401, 403]) }
        if body != nil { all.formUnion([400, 413]) }
        return all.subtracting(answers.keys)
    }
}

extension RouteDescription.Parameter {
    fileprivate var json: JSONValue {
        [
            "name": .string(name), "in": .string(place), "required": .bool(place == "path"),
            "description": .string(text), "schema": schema,
        ]
    }

    static let uid = Self(
        name: "uid", place: "path", text: "The clip's Cloudflare Stream uid",
        schema: ["type": "string", "pattern": "^[0-9A-Za-z_-]{1,32}$"])
    static let delivery = Self(
        name: "id", place: "path", text: "A delivery's id", schema: ["type": "string", "pattern": "^[1-9][0-9]{0,17}$"])
    static let uidFilter = Self(
        name: "uid", place: "query", text: "Only of this clip",
        schema: ["type": "string", "pattern": "^([0-9A-Za-z_-]{1,32})?$"])
    /// Empty is none, as a form sends it.
    static let status = Self(
        name: "status", place: "query", text: "Only clips in this status",
        schema: ["type": "string", "enum": .array(ClipStatus.allCases.map { .string($0.rawValue) } + [""])])
    static let limit = Self(
        name: "limit", place: "query", text: "How many at most",
        schema: ["type": "integer", "minimum": 1, "maximum": 500, "default": 50])
    static let cursor = Self(
        name: "cursor", place: "query", text: "The next_cursor of the page before",
        schema: ["type": "string", "pattern": "^[0-9]{0,18}$"])
    static let lastEventID = Self(
        name: "Last-Event-ID", place: "header", text: "The id of the last event that was seen",
        schema: ["type": "string", "pattern": "^[0-9]{0,18}$"])
}

extension JSONValue {
    /// One of the document's schemas.
    static func schema(_ name: String) -> JSONValue { ["$ref": .string("#/components/schemas/\(name)")] }
}

extension RouteDescription.Answer {
    fileprivate var json: JSONValue {
        guard let schema else { return ["description": .string(text)] }
        return ["description": .string(text), "content": [contentType: ["schema": schema]]]
    }

    static func json(_ text: String, _ schema: String) -> Self {
        Self(text: text, schema: .schema(schema))
    }
}

/// The OpenAPI 3.1 document.
struct APIDescription {
    var version: String
    var routes: [(method: HTTPRequest.Method, path: String, description: RouteDescription)]

    var json: JSONValue {
        var paths: [String: [String: JSONValue]] = [:]
        for route in routes {
            paths["/\(route.path)", default: [:]][route.method.rawValue.lowercased()] = route.description.json()
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "clipbridge operator API", "version": .string(version),
                "description":
                    "Looks at clips and moves them. Times are RFC 3339 in UTC; errors are RFC 9457 problem details.",
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
            ],
            "security": [["token": []]],
            "paths": .object(paths.mapValues(JSONValue.object)),
            "components": [
                "securitySchemes": [
                    "token": [
                        "type": "http", "scheme": "bearer", "description": "CLIPBRIDGE_ADMIN_TOKEN, where one is set",
                    ]
                ],
                "responses": ["problem": Self.problem],
                "schemas": .object(Self.schemas),
            ],
        ]
    }

    private static let problem: JSONValue = [
        "description": "What is wrong, in words",
        "content": ["application/problem+json": ["schema": ["$ref": "#/components/schemas/problem"]]],
    ]

    // MARK: Schemas

    private static let text: JSONValue = ["type": "string"]
    private static let maybeText: JSONValue = ["type": ["string", "null"]]
    private static let time: JSONValue = ["type": "string", "format": "date-time"]
    private static func object(_ properties: [String: JSONValue], optional: [String: JSONValue] = [:]) -> JSONValue {
        [
            "type": "object", "required": .array(properties.keys.sorted().map(JSONValue.string)),
            "properties": .object(properties.merging(optional) { own, _ in own }),
        ]
    }

    private static func page(of name: String, _ schema: String) -> JSONValue {
        object([name: ["type": "array", "items": .schema(schema)], "next_cursor": maybeText])
    }

    private static let clip: [String: JSONValue] = [
        "uid": text, "status": maybeText, "order": ["type": ["integer", "null"]], "message": text,
        "progress": ["type": "number", "minimum": 0, "maximum": 100], "processing_details": ["type": "object"],
        "created_at": time, "updated_at": time,
        "next_action": [
            "oneOf": [
                ["type": "null"],
                object(["kind": text, "due_at": time, "attempt": ["type": "integer", "minimum": 0]]),
            ]
        ],
    ]

    private static let delivery: [String: JSONValue] = [
        "id": text, "received_at": time, "signed_at": time, "uid": maybeText,
        "outcome": ["enum": .array(DeliveryOutcome.allCases.map { .string($0.rawValue) })],
    ]

    private static let schemas: [String: JSONValue] = [
        "status": ["type": "string", "enum": .array(ClipStatus.allCases.map { .string($0.rawValue) })],
        "clip": object(clip),
        "clip_with_history": object(clip.merging(["history": ["type": "array", "items": .schema("entry")]]) { $1 }),
        "clips": page(of: "clips", "clip"),
        "entry": object([
            "seq": ["type": "integer"], "at": time,
            "source": ["enum": .array(SignalSource.allCases.map { .string($0.rawValue) })],
            "requested_status": maybeText, "outcome": ["enum": ["applied", "merged", "rejected", nil]],
            "reason": ["enum": ["backward", "terminal", "unknown_clip", "unknown_status", nil]], "from": maybeText,
            "to": maybeText, "details": ["type": "object"],
        ]),
        "explanation": object([
            "clip": .schema("clip"), "history": ["type": "array", "items": .schema("entry")],
            "lease": [
                "oneOf": [
                    ["type": "null"], object(["owner": text, "until": time, "epoch": ["type": "integer"]]),
                ]
            ],
            "next_action": ["type": ["object", "null"]], "text": text,
        ]),
        "delivery": object(delivery),
        "delivery_with_body": object(delivery.merging(["body": text]) { $1 }, optional: ["body_base64": text]),
        "deliveries": page(of: "deliveries", "delivery"),
        "replayed": object(["delivery": text, "outcome": text]),
        "progress": object(
            ["message": text, "status": text, "videoUid": text], optional: ["publicUrl": maybeText]),
        "health": object(["status": text]),
        "registration": object(
            ["uid": ["type": "string", "pattern": "^[0-9A-Za-z_-]{1,32}$"]],
            optional: [
                "status": [
                    "enum": .array(ClipStatus.allCases.filter { $0 != .error }.map { .string($0.rawValue) } + [nil])
                ],
                "details": ["type": ["object", "null"]],
            ]),
        "request": object(["requested_status": text], optional: ["details": ["type": ["object", "null"]]]),
        "video": object(["videoUid": ["type": "string", "pattern": "^[0-9A-Za-z_-]{1,32}$"]]),
        "problem": object([
            "type": text, "title": text, "status": ["type": "integer"], "detail": text, "message": text,
        ]),
    ]
}
