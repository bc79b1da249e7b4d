// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import ClipStore
import Foundation

struct StoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "Looks after the store.", subcommands: [Migrate.self, Verify.self, Copy.self])

    struct Migrate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Creates the schema or brings it up to date.")

        @OptionGroup var options: StoreOptions

        func run() async throws {
            let store = try options.open()
            // A bridge of the version before must not go on with a file that has moved on.
            if (try? await store.checkReady()) == nil { try await store.takeOwnership() }
            try await store.migrate()
            try await store.close()
            Terminal.output("the schema is up to date")
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Folds the ledger anew and compares the outcome with the clips table.",
            discussion: "Exit code 1 and the uids where they differ. It may run beside a serving bridge.")

        @Flag(help: "Print JSON.") var json = false
        @OptionGroup var options: StoreOptions

        func run() async throws {
            let settings = try options.load()
            try settings.database.checkPresence()
            let store = try settings.openStore(logger: .silent)
            try await store.checkReady()
            let result = try await LedgerVerification.run(on: store)
            try await store.close()
            show(result)
            if !result.differences.isEmpty { throw ExitCode.failure }
        }

        private func show(_ result: LedgerVerification) {
            if json {
                let differences = result.differences.map {
                    JSONValue.object(["uid": .string($0.uid), "text": .string($0.text)])
                }
                Terminal.output(
                    JSONText.line([
                        "ok": .bool(result.differences.isEmpty), "clips": .integer(Int64(result.clips)),
                        "entries": .integer(Int64(result.entries)), "pending": .integer(Int64(result.pending)),
                        "differences": .array(differences),
                    ]))
                return
            }
            for difference in result.differences { Terminal.output("\(difference.uid)\t\(difference.text)") }
            Terminal.error(
                "\(result.clips) clips, \(result.entries) ledger entries, \(result.pending) undecided, "
                    + "\(result.differences.count) differences")
        }
    }
}

extension StoreCommand {
    struct Copy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Copies clips, ledger, deliveries and work into an empty store.",
            discussion: """
                Stop the bridge first. Run again, it goes on where it was broken off. A secret URL may be left out and \
                come from the settings, as DATABASE_URL, for one of the two.
                """)

        @Option(help: "Store to copy from: sqlite:PATH or postgres://...") var from: String?
        @Option(help: "Store to copy into.") var to: String?
        @Flag(help: "Print JSON.") var json = false
        @OptionGroup var options: StoreOptions

        func validate() throws {
            if from == nil, to == nil { throw ValidationError("--from or --to has to be given") }
        }

        func run() async throws {
            let settings = try options.load()
            let source = try Self.database(from, settings, "--from")
            let destination = try Self.database(to, settings, "--to")
            guard source != destination else { throw ValidationError("--from and --to name the same store") }
            try source.checkPresence()
            func open(_ database: Database) throws -> any ClipStore {
                try database.open(
                    clipsTable: settings.clipsTable, uidColumn: settings.uidColumn, logger: .silent)
            }
            let script = LedgerScript(policy: settings.policy, now: SystemWallClock().now())
            try await copy(try open(source), try open(destination), by: script)
        }

        private static func database(_ text: String?, _ settings: Settings, _ option: String) throws -> Database {
            guard let text else { return settings.database }
            guard let database = Database(text) else {
                throw ValidationError("\(option) is no store; accepted is sqlite:PATH or postgres://...")
            }
            return database
        }

        private func copy(
            _ source: some ClipStore, _ destination: some ClipStore, by script: LedgerScript
        ) async throws {
            // Of a file, this also makes sure that no bridge is at it.
            try await source.takeOwnership()
            try await destination.takeOwnership()
            try await source.checkReady()
            try await destination.migrate()
            let isShown = Terminal.isErrorTerminal
            let done = try await StoreCopy.run(from: source, to: destination, by: script) { copy in
                if isShown { Terminal.error(Self.words(copy)) }
            }
            try await source.close()
            try await destination.close()
            guard json else {
                Terminal.output("copied \(Self.words(done))")
                if done.foreignRows > 0 {
                    Terminal.error("\(done.foreignRows) rows stay behind: their status or uid is none of the bridge's")
                }
                return
            }
            Terminal.output(
                JSONText.line([
                    "ok": true, "clips": .integer(Int64(done.clips)), "entries": .integer(Int64(done.entries)),
                    "deliveries": .integer(Int64(done.deliveries)), "transfers": .integer(Int64(done.transfers)),
                    "messages": .integer(Int64(done.messages)), "foreign_rows": .integer(Int64(done.foreignRows)),
                ]))
        }

        private static func words(_ copy: StoreCopy) -> String {
            "\(copy.clips) clips, \(copy.entries) ledger entries, \(copy.deliveries) deliveries, "
                + "\(copy.transfers) transfers, \(copy.messages) outgoing webhooks"
        }
    }
}

/// The settings that name the store.
struct StoreOptions: ParsableArguments {
    @Option(
        name: .customLong("config"), help: "File of NAME=value lines; flags and the environment go before it.",
        completion: .file())
    var configFile: String?
    @Option(name: .customLong("database-url"), help: .setting(.databaseURL)) var databaseURL: String?
    @Option(name: .customLong("clips-table"), help: .setting(.clipsTable)) var clipsTable: String?
    @Option(name: .customLong("uid-column"), help: .setting(.uidColumn)) var uidColumn: String?

    func open() throws -> any ClipStore { try load().openStore(logger: .silent) }

    func load() throws -> Settings {
        let given: [(SettingName, String?)] = [
            (.databaseURL, databaseURL), (.clipsTable, clipsTable), (.uidColumn, uidColumn),
        ]
        let flags = Dictionary(uniqueKeysWithValues: given.compactMap { name, value in value.map { (name, $0) } })
        return try Settings(RawSettings(flags: flags, configFile: configFile))
    }
}

extension Database {
    /// - Throws: `CommandFailure` for a file that is not there: to open it would be to make it.
    func checkPresence() throws {
        guard case .sqlite(let path) = self, !FileManager.default.fileExists(atPath: path) else { return }
        throw CommandFailure(.failed, "the database \"\(path)\" is not there")
    }
}
