// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// What reads bytes from outside, and what has to hold whatever they are. The tests run these, and so does libFuzzer
/// (`deploy/fuzz.sh`).
enum FuzzTarget: String, CaseIterable, Sendable {
    /// The header `Webhook-Signature`.
    case signature
    /// A delivery's body.
    case body
    /// An answer of Cloudflare's API.
    case answer
    /// An answer of the object storage.
    case storage
    /// The settings, as lines of NAME=value.
    case settings
    /// Where a client of the operator API goes on: ids of events, cursors and limits.
    case place

    /// Folders below `fixtures/` with inputs to begin with.
    var corpora: [String] {
        let own = "fuzz/\(rawValue)"
        return switch self {
        case .body: ["stream", "malformed", own]
        case .answer: ["stream", own]
        case .signature, .storage, .settings, .place: [own]
        }
    }

    /// - Returns: whether the input was taken, rather than refused.
    /// - Throws: where a promise is broken.
    func run(_ bytes: [UInt8]) throws(BrokenPromise) -> Bool {
        switch self {
        case .signature: try SignatureFuzzing.run(bytes)
        case .body: try BodyFuzzing.run(bytes)
        case .answer: try AnswerFuzzing.run(bytes)
        case .storage: try StorageFuzzing.run(bytes)
        case .settings: try SettingsFuzzing.run(bytes)
        case .place: try PlaceFuzzing.run(bytes)
        }
    }
}

/// Something that has to hold for every input does not for one.
struct BrokenPromise: Error, CustomStringConvertible {
    var description: String
}

func promise(_ holds: Bool, _ words: @autoclosure () -> String) throws(BrokenPromise) {
    if !holds { throw BrokenPromise(description: words()) }
}

/// An error's message is shown on one line.
func promiseOneLine(_ message: String, bytesMax: Int) throws(BrokenPromise) {
    try promise(message.utf8.count <= bytesMax, "a message of \(message.utf8.count) bytes: \(message)")
    try promise(
        message.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control },
        "a control character: \(message)"
    )
}
