// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ClipLifecycle
import ClipStore

struct StoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "Looks after the store.", subcommands: [Migrate.self, Verify.self])

    struct Migrate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Creates the schema or brings it up to date.")

        @OptionGroup var options: StoreOptions

        func run() async throws {
            let store = try await options.open()
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
            let store = try await options.open()
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

/// The settings that name the store.
struct StoreOptions: ParsableArguments {
    @Option(name: .customLong("config"), help: "File of NAME=value lines; flags and the environment go before it.")
    var configFile: String?
    @Option(name: .customLong("database-url"), help: .setting(.databaseURL)) var databaseURL: String?
    @Option(name: .customLong("clips-table"), help: .setting(.clipsTable)) var clipsTable: String?
    @Option(name: .customLong("uid-column"), help: .setting(.uidColumn)) var uidColumn: String?

    func open() async throws -> any ClipStore {
        let given: [(SettingName, String?)] = [
            (.databaseURL, databaseURL), (.clipsTable, clipsTable), (.uidColumn, uidColumn),
        ]
        let flags = Dictionary(uniqueKeysWithValues: given.compactMap { name, value in value.map { (name, $0) } })
        let settings = try Settings(try await RawSettings(flags: flags, configFile: configFile))
        return try settings.openStore(logger: .silent)
    }
}
