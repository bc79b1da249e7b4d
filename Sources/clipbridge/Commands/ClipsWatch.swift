// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import Foundation

extension Clips {
    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints a line whenever a clip changes, until Ctrl-C.",
            discussion: "Several changes of one clip within a second are one line. "
                + "A bridge that goes away is waited for.")

        @OptionGroup var server: ServerOptions

        func run() async throws {
            let client = try server.client()
            do {
                try await untilInterrupted { [json = server.json] in
                    var watch = ChangeWatch(client: client)
                    try await watch.run { clip in
                        Terminal.output(json ? JSONText.line(clip) : ClipText.change(clip))
                    }
                }
            } catch let interruption as Interruption {
                throw interruption.exitCode
            }
        }
    }
}

/// Finds out what changes by looking at the list of clips, whose first is the one that changed last.
///
/// `GET /api/events` would tell without being asked, but the transport gives a body only when it is complete, and that
/// of an event stream never is.
private struct ChangeWatch {
    private static let interval = Duration.seconds(1)

    let client: OperatorClient
    /// What was last seen of each clip.
    private var known: [String: Int] = [:]
    private var isAway = false

    init(client: OperatorClient) { self.client = client }

    /// - Parameter show: false from it ends the watch: nobody reads any more.
    mutating func run(_ show: (JSONValue) -> Bool) async throws {
        // The bridge has to be there at first. What has changed last is where the next look ends.
        let (clips, _) = try await page("limit=500")
        learn(clips)
        while true {
            try await Task.sleep(for: Self.interval)
            for clip in try await changes() {
                guard show(clip) else { return }
            }
        }
    }

    /// Oldest change first.
    private mutating func changes() async throws -> [JSONValue] {
        do {
            let clips = try await look()
            learn(clips)
            isAway = false
            return clips.reversed()
        } catch let failure as CommandFailure where failure.code == .unavailable {
            if !isAway { Terminal.error("clipbridge: \(failure.message); it is tried again") }
            isAway = true
            return []
        }
    }

    /// What lies in the list before the first clip that is as it was; all that follow it are as they were, too.
    private func look() async throws -> [JSONValue] {
        var found: [JSONValue] = []
        var cursor: String?
        repeat {
            let from = cursor.map { "&cursor=\(pathSegment($0))" } ?? ""
            let (clips, next) = try await page("limit=100\(from)")
            for clip in clips {
                if let uid = Self.uid(clip), known[uid] == Self.fingerprint(of: clip) { return found }
                found.append(clip)
            }
            cursor = next
        } while cursor != nil
        return found
    }

    private func page(_ query: String) async throws -> (clips: [JSONValue], next: String?) {
        let page = try await client.get("/api/clips?\(query)").objectValue ?? [:]
        guard case .array(let clips)? = page["clips"] else { return ([], nil) }
        return (clips, page["next_cursor"]?.stringValue)
    }

    private mutating func learn(_ clips: [JSONValue]) {
        for clip in clips {
            if let uid = Self.uid(clip) { known[uid] = Self.fingerprint(of: clip) }
        }
    }

    private static func uid(_ clip: JSONValue) -> String? { clip.objectValue?["uid"]?.stringValue }

    /// Changes with the clip; that its next action is planned anew is no change.
    private static func fingerprint(of clip: JSONValue) -> Int {
        var members = clip.objectValue ?? [:]
        members["next_action"] = nil
        return members.hashValue
    }
}
