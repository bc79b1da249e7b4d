// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import Foundation

struct Clips: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Looks at the clips of a running bridge and moves them.",
        subcommands: [
            List.self, Show.self, Explain.self, Retry.self, Register.self, Import.self, Watch.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists clips, newest change first.")

        @Option(help: "Only clips in this status.", completion: .status) var status: String?
        @Option(help: "How many at most; 0 for all.") var limit = 50
        @OptionGroup var server: ServerOptions

        func validate() throws {
            if limit < 0 { throw ValidationError("--limit is 0 or more") }
        }

        func run() async throws {
            let client = try server.client()
            var left = limit == 0 ? Int.max : limit
            var cursor: String?
            var clips: [JSONValue] = []
            repeat {
                var query = "limit=\(min(left, 500))"
                if let status { query += "&status=\(pathSegment(status))" }
                if let cursor { query += "&cursor=\(pathSegment(cursor))" }
                let page = try await client.get("/api/clips?\(query)").objectValue ?? [:]
                guard case .array(let found)? = page["clips"] else { break }
                clips += found
                left -= found.count
                cursor = page["next_cursor"]?.stringValue
            } while cursor != nil && left > 0
            if server.json {
                Terminal.output(
                    JSONText.line(["clips": .array(clips), "next_cursor": cursor.map(JSONValue.string) ?? .null]))
            } else {
                clips.forEach { Terminal.output(ClipText.row($0)) }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a clip and its history.")

        @Argument(help: "The clip's uid.", transform: clipUID) var uid: ClipUID
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let clip = try await server.client().get("/api/clips/\(uid.rawValue)")
            Terminal.output(server.json ? JSONText.line(clip) : ClipText.card(clip))
        }
    }

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says how a clip came to where it is, and what happens next.")

        @Argument(help: "The clip's uid.", transform: clipUID) var uid: ClipUID
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let answer = try await server.client().get("/api/clips/\(uid.rawValue)/explain")
            Terminal.output(server.json ? JSONText.line(answer) : answer.objectValue?["text"]?.stringValue ?? "")
        }
    }

    struct Retry: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Returns a clip in error to the status that it failed in.")

        @Argument(help: "The clip's uid.", transform: clipUID) var uid: ClipUID
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let clip = try await server.client().post("/api/clips/\(uid.rawValue)/retry")
            Terminal.output(server.json ? JSONText.line(clip) : ClipText.row(clip))
        }
    }

    struct Register: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Tells the bridge of a clip.")

        @Argument(help: "The clip's uid.", transform: clipUID) var uid: ClipUID
        @Option(help: "The status that it has already.", completion: .status) var status: String?
        @OptionGroup var server: ServerOptions

        func run() async throws {
            var body: [String: JSONValue] = ["uid": .string(uid.rawValue)]
            if let status { body["status"] = .string(status) }
            let clip = try await server.client().post("/api/clips", .object(body))
            Terminal.output(server.json ? JSONText.line(clip) : ClipText.row(clip))
        }
    }
}

struct SignalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "signal", abstract: "Asks for a status; exit code 1 when it is rejected.")

    @Argument(help: "The clip's uid.", transform: clipUID) var uid: ClipUID
    @Argument(help: "The status to ask for.", completion: .status) var status: String
    @Option(help: "A JSON object to merge into processing_details.") var details: String?
    @OptionGroup var server: ServerOptions

    func run() async throws {
        var body: [String: JSONValue] = ["requested_status": .string(status)]
        if let details {
            guard let object = JSONValue(json: Array(details.utf8))?.objectValue else {
                throw ValidationError("--details is not a JSON object")
            }
            body["details"] = .object(object)
        }
        let entry = try await server.client().post("/api/clips/\(uid.rawValue)/signals", .object(body))
        let members = entry.objectValue ?? [:]
        let outcome = members["outcome"]?.stringValue ?? "undecided"
        if server.json {
            Terminal.output(JSONText.line(entry))
        } else {
            let reason = members["reason"]?.stringValue.map { " (\($0))" } ?? ""
            Terminal.output("\(outcome)\(reason)")
        }
        if outcome == "rejected" { throw ExitCode.failure }
    }
}

extension CompletionKind {
    static var status: CompletionKind { .list(ClipStatus.allCases.map(\.rawValue)) }
}

/// Clips in words, for a terminal.
enum ClipText {
    static func row(_ clip: JSONValue) -> String {
        let clip = clip.objectValue ?? [:]
        return [
            text(clip["uid"]).padding(toLength: 32, withPad: " ", startingAt: 0),
            text(clip["status"]).padding(toLength: 14, withPad: " ", startingAt: 0),
            "\(text(clip["progress"])) %", text(clip["updated_at"]),
        ].joined(separator: "  ")
    }

    /// Where a clip is, for a list of changes.
    static func change(_ clip: JSONValue) -> String {
        let clip = clip.objectValue ?? [:]
        return [
            text(clip["uid"]).padding(toLength: 32, withPad: " ", startingAt: 0),
            text(clip["status"]).padding(toLength: 14, withPad: " ", startingAt: 0),
            "\(text(clip["progress"])) %", text(clip["message"]),
        ].joined(separator: "  ")
    }

    static func card(_ clip: JSONValue) -> String {
        let members = clip.objectValue ?? [:]
        var lines = ["uid", "status", "message", "progress", "created_at", "updated_at"].map {
            "\($0): \(text(members[$0]))"
        }
        if let next = members["next_action"]?.objectValue {
            lines.append("next_action: \(text(next["kind"])) at \(text(next["due_at"]))")
        }
        lines.append("processing_details:")
        let details = members["processing_details"]?.objectValue ?? [:]
        lines += details.sorted { $0.key < $1.key }.map { "  \($0.key): \(text($0.value))" }
        lines.append("history:")
        if case .array(let history)? = members["history"] { lines += history.map { "  \(entry($0))" } }
        return lines.joined(separator: "\n")
    }

    private static func entry(_ value: JSONValue) -> String {
        let entry = value.objectValue ?? [:]
        let reason = entry["reason"]?.stringValue.map { " (\($0))" } ?? ""
        return "\(text(entry["at"])) #\(text(entry["seq"])) \(text(entry["source"])): "
            + "\(text(entry["requested_status"])) \(text(entry["outcome"]))\(reason)"
    }

    private static func text(_ value: JSONValue?) -> String {
        switch value {
        case .string(let text)?: text
        case .null?, nil: "-"
        case let value?: JSONText.line(value)
        }
    }
}

private func clipUID(_ text: String) throws -> ClipUID {
    guard let uid = ClipUID(text) else {
        throw ValidationError("\"\(text)\" is no uid; accepted are 1 to 32 of 0-9, a-z, A-Z, _ and -")
    }
    return uid
}
