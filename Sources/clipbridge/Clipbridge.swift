// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// The program: parses its arguments and turns every failure into words and an exit code.
@main
struct Clipbridge: AsyncParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "clipbridge",
        abstract: "Brings the videos of a Cloudflare Stream account as MP4s into an R2 bucket.",
        discussion: "Exit codes: 0 done, 1 failed, 64 wrong usage, 69 a service is unreachable, 77 a token or key was "
            + "refused, 78 wrong configuration.",
        version: version,
        subcommands: [
            Serve.self, SandboxCommand.self, Demo.self, Replay.self, TransferCommand.self, Clips.self,
            SignalCommand.self, WebhookCommand.self, Check.self, StoreCommand.self, ConfigCommand.self,
        ])

    func run() async throws {
        Terminal.error(Self.helpMessage())
        throw ExitCode(CommandFailure.Code.usage.rawValue)
    }

    static func main() async {
        // A peer that went away is an error of that connection and not the end of the program.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            guard let failure = CommandFailure(error) else { exit(withError: error) }
            Terminal.error("clipbridge: \(failure.message)")
            Foundation.exit(failure.code.rawValue)
        }
    }
}
