// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Testing

/// Whether a ledger keeps the contract's rule: only forward, but for the two-way pair and an operator's retry.
func expectOnlyForward(_ history: [JSONValue], sourceLocation: SourceLocation = #_sourceLocation) {
    var last: ClipStatus?
    for entry in history where entry["outcome"] == "applied" {
        let to = entry["to"]?.stringValue.flatMap(ClipStatus.init)
        #expect(
            entry["from"]?.stringValue.flatMap(ClipStatus.init) == last, "the history has a gap: \(entry)",
            sourceLocation: sourceLocation)
        let isRetry = entry["details"]?["retry"] == true
        let pair: Set<ClipStatus> = [.waitForMP4, .mp4Processing]
        let isPair = last.map(pair.contains) == true && to.map(pair.contains) == true
        if !isRetry, !isPair, let last, let to {
            #expect(to > last, "the clip moved back: \(entry)", sourceLocation: sourceLocation)
        }
        last = to
    }
}

extension BridgeProcess.Clip {
    /// The sources of what moved the clip.
    var movers: Set<String> {
        Set(history.filter { $0["outcome"] == "applied" }.compactMap { $0["source"]?.stringValue })
    }
}
