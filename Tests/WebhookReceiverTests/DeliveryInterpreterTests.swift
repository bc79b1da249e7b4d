// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Testing
import WebhookReceiver

struct DeliveryInterpreterTests {
    typealias Interpretation = DeliveryInterpreter.Interpretation

    private func interpret(_ text: String) -> Interpretation { DeliveryInterpreter.interpret(Array(text.utf8)) }

    private static let statuses: [String: ClipStatus] = [
        "pendingupload": .uploading, "downloading": .uploading, "queued": .queued, "inprogress": .processing,
        "ready": .streamReady, "ready-pct-39": .streamReady, "ready-nulls": .streamReady, "ready-private": .streamReady,
        "ready-recording": .streamReady, "error-errorreason": .error, "error-errreason": .error,
        "mp4-inprogress": .mp4Processing, "mp4-ready": .mp4Downloading, "mp4-ready-flat": .mp4Downloading,
        "mp4-ready-token-url": .mp4Downloading, "mp4-error": .waitForMP4,
    ]

    private static let ignored: [String: DeliveryInterpreter.IgnoredReason] = [
        "unknown-state": .unknownState, "live-inprogress": .liveInProgress, "live-connected": .liveEvent,
        "live-disconnected": .liveEvent, "live-errored": .liveEvent, "notification-test": .test,
    ]

    private static let malformed: [String: DeliveryInterpreter.MalformedReason] = [
        "not-json.txt": .bodyMalformed, "empty.json": .bodyMalformed, "array.json": .bodyMalformed,
        "truncated.json": .bodyMalformed, "invalid-utf8.json": .bodyMalformed, "utf16.json": .bodyMalformed,
        "deep-nesting.json": .bodyMalformed, "uid-missing.json": .uidMissing, "uid-null.json": .uidMissing,
        "uid-number.json": .uidInvalid, "uid-33-characters.json": .uidInvalid, "uid-slash.json": .uidInvalid,
    ]

    @Test func everyPayloadIsTakenForWhatItIs() throws {
        for file in try Fixture.names(in: "stream") {
            let name = String(file.dropLast(".json".count))
            let result = DeliveryInterpreter.interpret(try Fixture.bytes("stream/\(file)"))
            switch result {
            case .accepted(let signal):
                #expect(signal.source == .webhook)
                #expect(signal.request == Self.statuses[name].map(Signal.Request.status), "\(file)")
            case .ignored(let reason, _):
                #expect(reason == Self.ignored[name], "\(file)")
            case .malformed(let reason):
                Issue.record("\(file) is \(reason)")
            }
        }
    }

    @Test func everyMalformedBodyHasItsReason() throws {
        let files = try Fixture.names(in: "malformed")
        #expect(Set(files) == Set(Self.malformed.keys))
        for file in files {
            let result = DeliveryInterpreter.interpret(try Fixture.bytes("malformed/\(file)"))
            #expect(result == Self.malformed[file].map(Interpretation.malformed), "\(file)")
        }
    }

    @Test func storyOfOneClipHasOneUid() throws {
        let uids = try ["queued", "inprogress", "ready", "mp4-inprogress", "mp4-ready"].map { name -> ClipUID? in
            guard case .accepted(let signal) = DeliveryInterpreter.interpret(try Fixture.bytes("stream/\(name).json"))
            else {
                return nil
            }
            return signal.uid
        }
        #expect(Set(uids).count == 1 && uids[0] != nil)
    }

    @Test func percentageGoesIntoTheSignal() throws {
        guard case .accepted(let signal) = DeliveryInterpreter.interpret(try Fixture.bytes("stream/inprogress.json"))
        else {
            Issue.record("not accepted")
            return
        }
        #expect(signal.percent == 47.5)
    }

    @Test func flatDownloadKeepsItsURL() throws {
        guard
            case .accepted(let signal) = DeliveryInterpreter.interpret(try Fixture.bytes("stream/mp4-ready-flat.json"))
        else {
            Issue.record("not accepted")
            return
        }
        #expect(signal.details[.mp4DownloadURL]?.stringValue?.hasSuffix("/\(signal.uid)/downloads/default.mp4") == true)
    }

    @Test(arguments: [
        (#"{"uid":"a"}"#, DeliveryInterpreter.IgnoredReason.noState), (#"{"uid":"a","status":null}"#, .noState),
        (#"{"uid":"a","status":"ready"}"#, .noState), (#"{"uid":"a","status":{"state":7}}"#, .noState),
        (#"{"uid":"a","status":{"state":""}}"#, .noState), (#"{"uid":"a","status":[{"state":"ready"}]}"#, .noState),
        (#"{"uid":"a","result":{}}"#, .noState), (#"{"uid":"a","result":null}"#, .noState),
        (#"{"uid":"a","downloads":{"default":{"status":"soon"}}}"#, .noState),
        (#"{"uid":"a","status":{"state":"READY"}}"#, .unknownState),
    ])
    func videoWithoutAKnownStateIsIgnored(text: String, reason: DeliveryInterpreter.IgnoredReason) {
        #expect(interpret(text) == .ignored(reason, uid: ClipUID("a")))
    }

    @Test(arguments: [
        (#"{"data":{"input_id":"x"}}"#, Interpretation.ignored(.liveEvent, uid: nil)),
        (#"{"data":{"event_type":"live_input.connected"}}"#, .ignored(.liveEvent, uid: nil)),
        (#"{"uid":null,"data":{"notification_name":"Stream Live Input"}}"#, .ignored(.liveEvent, uid: nil)),
        (#"{"data":{"event_type":"other"}}"#, .malformed(.uidMissing)), (#"{"data":[]}"#, .malformed(.uidMissing)),
        (#"{"text":"Hello World! Any text."}"#, .ignored(.test, uid: nil)), (#"{"text":7}"#, .malformed(.uidMissing)),
        (#"{"text":"Hello"}"#, .malformed(.uidMissing)), ("{}", .malformed(.uidMissing)),
        (#"{"uid":""}"#, .malformed(.uidInvalid)), (#"{"uid":" a"}"#, .malformed(.uidInvalid)),
        (#"{"uid":"é"}"#, .malformed(.uidInvalid)), (#"{"uid":["a"]}"#, .malformed(.uidInvalid)),
        (#"{"uid":{"a":1}}"#, .malformed(.uidInvalid)), (#"{"uid":true}"#, .malformed(.uidInvalid)),
        (#"{"uid":"a\u0000"}"#, .malformed(.uidInvalid)), ("null", .malformed(.bodyMalformed)),
        ("7", .malformed(.bodyMalformed)), (#""x""#, .malformed(.bodyMalformed)), ("{} {}", .malformed(.bodyMalformed)),
        (" ", .malformed(.bodyMalformed)),
    ])
    func bodyIsTakenForWhatItIs(text: String, expected: Interpretation) {
        #expect(interpret(text) == expected)
    }

    @Test func deepNestingIsRefusedWithoutACrash() {
        for opening in ["[", #"{"a":"#, #"{"uid":["#] {
            let body = String(repeating: opening, count: 100_000)
            #expect(interpret(body) == .malformed(.bodyMalformed))
        }
        let inside = #"{"uid":"a","status":{"state":"ready"},"meta":"# + String(repeating: "[", count: 100_000)
        #expect(interpret(inside + String(repeating: "]", count: 100_000) + "}") == .malformed(.bodyMalformed))
    }

    @Test func mutatedPayloadsNeverTrap() throws {
        var random = SplitMix64(seed: 42)
        let bodies = try Fixture.names(in: "stream").map { try Fixture.bytes("stream/\($0)") }
        for round in 0..<3_000 {
            var body = bodies[round % bodies.count]
            for _ in 0..<Int.random(in: 1...8, using: &random) where !body.isEmpty {
                let index = Int.random(in: body.indices, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: body[index] = UInt8.random(in: .min ... .max, using: &random)
                case 1: body.remove(at: index)
                case 2: body.insert(contentsOf: body[..<index].suffix(40), at: index)
                default: body.removeSubrange(index..<min(index + 30, body.count))
                }
            }
            if case .accepted(let signal) = DeliveryInterpreter.interpret(body) {
                #expect(!signal.uid.rawValue.isEmpty)
            }
        }
        for _ in 0..<3_000 {
            let body = random.bytes(Int.random(in: 0...200, using: &random))
            #expect(DeliveryInterpreter.interpret(body) == .malformed(.bodyMalformed))
        }
    }
}
