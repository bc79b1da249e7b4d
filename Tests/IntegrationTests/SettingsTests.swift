// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What a start is refused for: the setting's name, what is accepted, and exit code 78.
@Suite(.timeLimit(.minutes(10))) struct SettingsTests {
    private func expectRefusal(
        _ words: [String], _ arguments: [String] = [], _ settings: [String: String] = [:],
        without missing: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await World.run { world in
            var all = Unreachable.settings.merging(settings) { _, given in given }
            if let missing { all[missing] = nil }
            let refused = try await world.run(["serve"] + arguments, all)
            #expect(refused.status == 78, "\(refused.error)", sourceLocation: sourceLocation)
            #expect(refused.output.isEmpty, sourceLocation: sourceLocation)
            for word in words {
                #expect(refused.error.contains(word), "\(refused.error)", sourceLocation: sourceLocation)
            }
        }
    }

    @Test(arguments: [
        ("CLIPBRIDGE_PORT", "eighty"), ("CLIPBRIDGE_PORT", "65536"), ("CLIPBRIDGE_SPOOL_MAX_BYTES", "20 XB"),
        ("CLIPBRIDGE_PART_SIZE", "1MiB"), ("CLIPBRIDGE_POLL_MIN", "soon"), ("CLIPBRIDGE_BANDWIDTH", "50M"),
        ("CLIPBRIDGE_AUTO_MP4", "perhaps"), ("CLIPBRIDGE_UNKNOWN_CLIPS", "ask"),
        ("CLIPBRIDGE_R2_KEY", "videos/one.mp4"),
        ("CLIPBRIDGE_LOG_LEVEL", "loud"), ("CLIPBRIDGE_DOWNLOAD_HOSTS", "http://a b"), ("R2_ENDPOINT", "somewhere"),
        ("R2_BUCKET_NAME", "UPPER CASE"), ("CLIPBRIDGE_CLIPS_TABLE", "a;b"),
        ("CLIPBRIDGE_UID_COLUMN", "status"), ("CLIPBRIDGE_MAX_TRANSFERS", "0"),
    ])
    func wrongValueNamesItselfAndWhatIsAccepted(name: String, value: String) async throws {
        try await expectRefusal([name, "\"\(value)\"", "accepted is"], [], [name: value])
    }

    @Test func wrongFlagIsNamedAsTheSettingThatItIs() async throws {
        try await expectRefusal(["CLIPBRIDGE_PORT", "\"-1\""], ["--port=-1"])
    }

    @Test func wrongSecretIsNotShown() async throws {
        try await World.run { world in
            let settings = Unreachable.settings.merging(["DATABASE_URL": "mysql://me:hunter2@db/clips"]) { $1 }
            let refused = try await world.run(["serve"], settings)
            #expect(refused.status == 78 && refused.error.contains("DATABASE_URL"))
            #expect(!refused.error.contains("hunter2"))
        }
    }

    @Test(arguments: [
        "CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_WEBHOOK_SECRET", "R2_ACCESS_KEY_ID",
        "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME",
    ])
    func missingCredentialIsNamed(name: String) async throws {
        try await expectRefusal(["\(name) is not set"], without: name)
    }

    @Test func nameAndFileAtOnceAreRefused() async throws {
        try await expectRefusal(
            ["CLOUDFLARE_API_TOKEN", "CLOUDFLARE_API_TOKEN_FILE"], [], ["CLOUDFLARE_API_TOKEN_FILE": "/dev/null"])
    }

    @Test func unreadableFilesAreNamed() async throws {
        try await expectRefusal(
            ["CLOUDFLARE_API_TOKEN_FILE", "\"/nowhere/token\""], [],
            ["CLOUDFLARE_API_TOKEN_FILE": "/nowhere/token"], without: "CLOUDFLARE_API_TOKEN")
        try await expectRefusal(["--config", "\"/nowhere/settings\""], ["--config", "/nowhere/settings"])
    }

    /// As an editor on Windows writes it.
    @Test func fileMayHaveAnyLineEndsAndAByteOrderMark() async throws {
        try await World.run { world in
            let file = world.path("settings")
            let lines = ["\u{FEFF}CLIPBRIDGE_PORT=1234", "# a comment", "", " CLIPBRIDGE_HOST = localhost ", ""]
            try lines.joined(separator: "\r\n").write(toFile: file, atomically: true, encoding: .utf8)
            let shown = try await world.run(["config", "--config", file], [:])
            #expect(shown.status == 0, "\(shown.error)")
            #expect(shown.output.contains("1234") && shown.output.contains("localhost"), "\(shown.output)")
        }
    }

    /// What is not read may be a token, without which a door is open; and it may be a secret.
    @Test func lineThatIsNotReadIsNamedButNotShown() async throws {
        try await World.run { world in
            for line in ["CLIPBRIDGE_ADMIN_TOKEN hunter2", "export CLIPBRIDGE_ADMIN_TOKEN=hunter2", "=hunter2"] {
                let file = world.path("settings")
                try "CLIPBRIDGE_PORT=1234\n\(line)\n".write(toFile: file, atomically: true, encoding: .utf8)
                let refused = try await world.run(["config", "--config", file], [:])
                #expect(refused.status == 78 && refused.error.contains("line 2"), "\(refused.error)")
                #expect(!refused.error.contains("hunter2"))
            }
        }
    }

    @Test(arguments: ["999.1.1.1", "no.such.invalid"])
    func hostThatIsNoneIsNamed(host: String) async throws {
        try await expectRefusal(
            ["CLIPBRIDGE_HOST", "\"\(host)\"", "accepted is"], ["--host", host, "--port", "0"],
            ["CLIPBRIDGE_ADMIN_TOKEN": "token"])
    }

    @Test func exampleFileIsTheSettingsOwnTable() async throws {
        try await World.run { world in
            let printed = try await world.run(["config", "--example"], [:])
            let file = try String(contentsOf: Project.root.appending(path: "deploy/example.env"), encoding: .utf8)
            #expect(printed.status == 0)
            #expect(printed.output == file, "deploy/example.env is to be made anew by `clipbridge config --example`")
        }
    }

    @Test func exampleFileChangesNoSetting() async throws {
        try await World.run { world in
            let file = Project.root.appending(path: "deploy/example.env").path()
            let with = try await world.run(["config", "--config", file], [:])
            let without = try await world.run(["config"], [:])
            #expect(with.status == 0)
            #expect(with.output == without.output)
        }
    }

    @Test func exposedHostNeedsAnAdminToken() async throws {
        try await expectRefusal(["CLIPBRIDGE_ADMIN_TOKEN", "\"0.0.0.0\""], ["--host", "0.0.0.0"])
    }

    @Test func newerSchemaIsRefused() async throws {
        try await World.run { world in
            #expect(try await world.run(["store", "migrate"]).status == 0)
            _ = try await world.query("UPDATE clipbridge_meta SET value = 999 WHERE key = 'schema_version'")
            let refused = try await world.run(["serve"], Unreachable.settings)
            #expect(refused.status == 78 && refused.error.contains("schema"), "\(refused.error)")
        }
    }

    @Test func settingsAreShownWithoutSecrets() async throws {
        try await World.run { world in
            try Data("from-a-file\n".utf8).write(to: world.folder.appending(path: "secret"))
            let settings = Unreachable.settings.merging(
                ["CLOUDFLARE_API_TOKEN": "", "CLOUDFLARE_API_TOKEN_FILE": "secret", "CLIPBRIDGE_PORT": "1234"]) { $1 }
            let shown = try await world.run(["config", "--port", "4321"], settings)
            #expect(shown.status == 0)
            #expect(shown.lines.contains("CLIPBRIDGE_PORT=4321"))
            #expect(shown.lines.contains("CLOUDFLARE_API_TOKEN=(hidden)"))
            #expect(!shown.output.contains("from-a-file") && !shown.output.contains("=secret"))
        }
    }
}
