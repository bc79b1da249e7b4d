// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipStore
import OutgoingWebhooks

/// Who is told by webhooks of the bridge's own, and how they are signed.
struct OutgoingSettings: Sendable {
    private static let targetsMax = 16

    /// Told of changes of status.
    var notifyTargets: [OutgoingTarget]
    /// Passed Cloudflare's deliveries on to.
    var forwardTargets: [OutgoingTarget]
    var signer: MessageSigner?

    /// - Throws: `SettingsError`, also for a receiver of changes of status without a secret to sign them with.
    init(_ check: inout SettingsCheck) throws(SettingsError) {
        let hosts = try check.optional(.notifyHosts) { NamedHosts(SettingValue.list($0)) } ?? NamedHosts([])
        func targets(_ text: String, _ kind: OutgoingTarget.Kind) -> [OutgoingTarget]? {
            let urls = SettingValue.list(text)
            guard let hosts, urls.count <= Self.targetsMax, Set(urls).count == urls.count else { return nil }
            let targets = urls.compactMap { OutgoingTarget($0, kind: kind, namedHosts: hosts) }
            return targets.count == urls.count ? targets : nil
        }
        notifyTargets = try check.optional(.notifyURLs) { targets($0, .status) } ?? []
        forwardTargets = try check.optional(.forwardURLs) { targets($0, .delivery) } ?? []
        signer = try check.optional(.notifySecret) { MessageSigner(secrets: SettingValue.list($0)) }
        if signer == nil, !notifyTargets.isEmpty {
            throw SettingsError(
                SettingName.notifySecret.rawValue,
                "is not set, and CLIPBRIDGE_NOTIFY_URLS is: what is sent there has to be signed",
                accepts: SettingName.notifySecret.definition.accepts)
        }
    }

    var targets: [OutgoingTarget] { notifyTargets + forwardTargets }
}
