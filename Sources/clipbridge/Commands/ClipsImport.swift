// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import CloudflareStream

extension Clips {
    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Registers the videos that the account has already, newest first.",
            discussion: "It may be run again at any time: clips that the bridge knows stay as they are. Broadcasts "
                + "that are still live are skipped. Exit code 1 if any clip could not be registered.")

        @Option(help: "How many of the newest videos at most; 0 for all.") var limit = 0
        @Flag(help: "Only print what would be registered; clips that the bridge knows are among it.")
        var dryRun = false
        @OptionGroup var server: ServerOptions

        func validate() throws {
            if limit < 0 { throw ValidationError("--limit is 0 or more") }
        }

        func run() async throws {
            let settings = try server.settings()
            let stream = try settings.streamClient()
            let bridge = dryRun ? nil : try server.client(by: settings)
            var tally = ImportTally(isShown: Terminal.isErrorTerminal && !dryRun)
            // Whatever is said after it begins at a line of its own.
            defer { tally.clear() }
            var left = limit == 0 ? Int.max : limit
            var walk = StreamWalk(pageSize: left)
            while left > 0, let videos = try await walk.nextPage(from: stream) {
                for video in videos.prefix(left) { try await take(video, bridge, &tally) }
                left -= min(left, videos.count)
            }
            if walk.hasUnreadable { tally.say("entries of Cloudflare's without a valid uid were left out") }
            try show(tally)
        }

        /// - Parameter bridge: nil where nothing is to be registered.
        private func take(_ video: StreamVideo, _ bridge: OperatorClient?, _ tally: inout ImportTally) async throws {
            guard let status = Self.status(of: video) else {
                tally.skipped += 1
                return
            }
            guard let bridge else {
                tally.planned.append(["uid": .string(video.uid.rawValue), "status": .string(status.rawValue)])
                if !server.json { Terminal.output("\(video.uid)\t\(status.rawValue)") }
                return
            }
            var body: [String: JSONValue] = [
                "uid": .string(video.uid.rawValue), "status": .string(status.rawValue),
            ]
            if video.state != .error { body["details"] = .object(video.observation.details) }
            do {
                if try await bridge.register(.object(body)) { tally.registered += 1 } else { tally.known += 1 }
            } catch let failure as CommandFailure where failure.code == .failed {
                tally.failed += 1
                tally.say("\(video.uid): \(failure.message)")
            }
            tally.draw()
        }

        /// Where a clip begins; nil for a broadcast that is still live. What failed, or is in a state that says nothing
        /// to us, begins at the first status, from where the bridge's own inquiry finds out.
        private static func status(of video: StreamVideo) -> ClipStatus? {
            if video.state == .liveInProgress { return nil }
            guard let status = video.state?.requestedStatus, status != .error else { return .uploading }
            return status
        }

        private func show(_ tally: ImportTally) throws {
            tally.clear()
            if server.json {
                var members = tally.members
                if dryRun { members["clips"] = .array(tally.planned) }
                Terminal.output(JSONText.line(.object(members)))
            } else if dryRun {
                Terminal.error("\(tally.planned.count) would be registered, \(tally.skipped) skipped")
            } else {
                Terminal.output(tally.words)
            }
            if tally.failed > 0 { throw ExitCode.failure }
        }
    }
}

/// What became of the videos, drawn over on a terminal.
private struct ImportTally {
    let isShown: Bool
    var registered = 0
    var known = 0
    var skipped = 0
    var failed = 0
    /// What a dry run would register.
    var planned: [JSONValue] = []

    init(isShown: Bool) { self.isShown = isShown }

    var words: String { "\(registered) registered, \(known) known, \(skipped) skipped, \(failed) failed" }

    var members: [String: JSONValue] {
        [
            "registered": .integer(Int64(registered)), "known": .integer(Int64(known)),
            "skipped": .integer(Int64(skipped)), "failed": .integer(Int64(failed)),
        ]
    }

    func draw() {
        if isShown { Terminal.progress("\r\u{1B}[2K\(words)") }
    }

    func clear() {
        if isShown { Terminal.progress("\r\u{1B}[2K") }
    }

    func say(_ line: String) {
        clear()
        Terminal.error(line)
    }
}
