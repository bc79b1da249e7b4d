// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import OutgoingWebhooks

#if !FUZZER
    @testable import clipbridge
#endif

/// Settings are usable as a whole, or they are refused by an error that shows no secret.
enum SettingsFuzzing {
    static func run(_ bytes: [UInt8]) throws(BrokenPromise) -> Bool {
        guard let given = variables(bytes) else { return false }
        switch read(given) {
        case .success(let settings):
            try check(settings)
            return true
        case .failure(let error):
            try promise(SettingName(rawValue: error.name) != nil, "the error names \(error.name)")
            try checkSecrets(error, given)
            return false
        }
    }

    private static func read(_ variables: [String: String]) -> Result<Settings, SettingsError> {
        Result { () throws(SettingsError) in
            try Settings(RawSettings(flags: [:], environment: variables, configFile: nil))
        }
    }

    /// Nil for what can not be in an environment. Names of files are left out: those are the machine's.
    private static func variables(_ bytes: [UInt8]) -> [String: String]? {
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else { return nil }
        var variables: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let pair = line.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, SettingName(rawValue: String(pair[0])) != nil else { continue }
            variables[String(pair[0])] = String(pair[1])
        }
        return variables
    }

    private static func check(_ settings: Settings) throws(BrokenPromise) {
        try promise((0...65_535).contains(settings.port), "port \(settings.port)")
        try promise((1...256).contains(settings.transfersMax), "\(settings.transfersMax) transfers")
        let policy = settings.policy
        try promise(policy.pollMin > .zero && policy.pollMin <= policy.pollMax, "polls from \(policy.pollMin)")
        try promise(settings.retention >= .zero && settings.webhookTolerance >= .zero, "a time below zero")
        for target in settings.outgoing.targets {
            try promise(!target.host.isEmpty && !target.host.contains("/"), "a target's host is \(target.host)")
        }
        let values = Dictionary(uniqueKeysWithValues: settings.values.map { ($0.key.rawValue, $0.value) })
        let again = try? read(values).get()
        try promise(again?.values == settings.values, "what is in force is not what it is made of: \(values)")
    }

    private static func checkSecrets(_ error: SettingsError, _ given: [String: String]) throws(BrokenPromise) {
        let ours = SettingName.definitions.map { "\($0.name.rawValue) is not usable; accepted is \($0.accepts)" }
        let open = given.filter { SettingName(rawValue: $0.key)?.isSecret == false }.map { "is \"\($0.value)\"" }
        for (name, value) in given where SettingName(rawValue: name)?.isSecret == true {
            guard !(ours + open).contains(where: { $0.contains(value) }) else { continue }
            try promise(!error.description.contains(value), "the error shows a secret: \(error)")
        }
    }
}
