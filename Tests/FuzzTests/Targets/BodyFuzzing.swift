// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import CloudflareStream
import FoundationEssentials
import WebhookReceiver

/// A body means one thing, and what is taken from it is fit for the store and the dashboard.
enum BodyFuzzing {
    static func run(_ bytes: [UInt8]) throws(BrokenPromise) -> Bool {
        let interpretation = DeliveryInterpreter.interpret(bytes)
        try promise(DeliveryInterpreter.interpret(bytes) == interpretation, "read again it means something else")
        try promise(
            DeliveryInterpreter.interpret([0x20] + bytes + [0x0A]) == interpretation, "blanks around it change it")
        guard case .accepted(let signal) = interpretation else { return false }
        try promise(ClipUID(signal.uid.rawValue) == signal.uid, "the uid is \(signal.uid)")
        try checkPercent(signal.percent)
        try check(signal.details, of: signal.uid)
        return true
    }

    static func checkPercent(_ percent: Double?) throws(BrokenPromise) {
        try promise(percent.map { (0...100).contains($0) } ?? true, "a percentage of \(percent ?? 0)")
    }

    static func check(_ details: Details, of uid: ClipUID) throws(BrokenPromise) {
        for (key, value) in details {
            guard let text = value.stringValue else { continue }
            try promiseOneLine(text, bytesMax: 4_096)
            if key.hasSuffix("_url") {
                try promise(StreamURL.isPlain(text, of: uid), "\(key) may hold a token: \(text)")
            }
        }
        let json = try? JSONEncoder().encode(JSONValue.object(details))
        let again = json.flatMap { try? JSONDecoder().decode(JSONValue.self, from: $0) }
        try promise(again == .object(details), "the details are others once they were stored: \(details)")
    }
}
