// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing

@Suite("JSON as text")
struct JSONValueTextTests {
    private func read(_ text: String) -> JSONValue? { JSONValue(json: Array(text.utf8)) }

    @Test(
        "Values of every kind are read",
        arguments: [
            ("null", .null), (" true\n", .bool(true)), ("false", .bool(false)), ("0", .integer(0)), ("-0", .integer(0)),
            ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
            ("9223372036854775808", .double(9_223_372_036_854_775_808)), ("62.50", .double(62.5)),
            ("62.0", .integer(62)), ("1e3", .integer(1_000)), ("1E-2", .double(0.01)), ("-1.5e+1", .integer(-15)),
            ("1e400", .null), (#""""#, .string("")), (#""a\"b\\c\/d\b\f\n\r\t""#, .string("a\"b\\c/d\u{8}\u{C}\n\r\t")),
            (#""\u00e9\u20AC\uD83C\uDFAC\u0000""#, .string("é€🎬\u{0}")), (#""é€🎬""#, .string("é€🎬")),
            (#""\ud83c""#, .string("\u{FFFD}")), (#""\udfac\ud83cx""#, .string("\u{FFFD}\u{FFFD}x")),
            (#""\ud83c\u0041""#, .string("\u{FFFD}A")), ("[]", .array([])), ("{}", .object([:])),
            (#"[1, [2], {"a": null}]"#, .array([.integer(1), .array([.integer(2)]), .object(["a": .null])])),
            (#"{"a":1,"b":{"c":"d"},"a":2}"#, .object(["a": .integer(2), "b": .object(["c": .string("d")])])),
        ] as [(String, JSONValue)])
    func reads(_ text: String, _ expected: JSONValue) {
        #expect(read(text) == expected)
    }

    @Test(
        "What is no JSON is nothing",
        arguments: [
            "", " ", "nul", "True", "+1", "01", "-", "1.", ".5", "1e", "1e+", "0x1", "NaN", "Infinity", "\"", "\"a",
            "\"\\x\"", "\"\\u12g4\"", "\"\\u12\"", "\"\n\"", "'a'", "[", "[1", "[1,]", "[,]", "[1 2]", "{", "{\"a\"}",
            "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:2}", "{\"a\":1 \"b\":2}", "1 2", "{}x", "[1]]", "\u{FEFF}{}",
        ])
    func refuses(_ text: String) {
        #expect(read(text) == nil)
    }

    @Test("Bytes that are no UTF-8 are nothing, also within a string")
    func refusesOtherEncodings() {
        #expect(JSONValue(json: [0x22, 0xC3, 0x22]) == nil)
        #expect(JSONValue(json: [0xFF, 0xFE, 0x7B, 0x00, 0x7D, 0x00]) == nil)
        #expect(JSONValue(json: [0x7B, 0x7D, 0x00]) == nil)
    }

    @Test("Nesting ends somewhere")
    func boundsDepth() {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(read(nested(512)) != nil)
        #expect(read(nested(513)) == nil)
        #expect(read(String(repeating: "{\"a\":", count: 100_000)) == nil)
    }

    @Test("What is written is short and in order, and read again it is the same")
    func writes() {
        let value: JSONValue = [
            "b": [1, 2.5, -0.25, true, nil], "a": "\"\\/\n\u{1F}é🎬", "c": [:], "": .double(3), "d": .double(1e300),
        ]
        let text = #"{"":3,"a":"\"\\/\u000a\u001fé🎬","b":[1,2.5,-0.25,true,null],"c":{},"d":1e+300}"#
        #expect(value.json == text)
        #expect(read(text)?.json == text)
        #expect(JSONValue.array([.double(.nan), .double(.infinity)]).json == "[null,null]")
    }

    @Test("It agrees with Foundation's on thousands of texts, good and spoilt")
    func agreesWithFoundation() throws {
        var random = Random(state: 4)
        var (good, bad) = (0, 0)
        for _ in 0..<4_000 {
            var bytes = Array(random.value(depth: 3).json.utf8)
            if random.next(3) == 0, !bytes.isEmpty {
                bytes[random.next(bytes.count)] = Array("{}[]\":0.-tn\\".utf8)[random.next(12)]
            }
            let expected = try? JSONDecoder().decode(JSONValue.self, from: Data(bytes))
            let text = Comment(rawValue: String(decoding: bytes, as: UTF8.self))
            #expect(JSONValue(json: bytes) == expected, text)
            if expected == nil { bad += 1 } else { good += 1 }
        }
        #expect(good > 2_000 && bad > 300)
    }
}

/// Always the same values.
private struct Random {
    var state: UInt64

    mutating func next(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % bound
    }

    mutating func value(depth: Int) -> JSONValue {
        switch next(depth > 0 ? 8 : 6) {
        case 0: .null
        case 1: .bool(next(2) == 0)
        case 2: .integer(Int64(next(2_000_000)) - 1_000_000)
        case 3: JSONValue(number: Double(next(1_000_000)) / 64)
        case 4, 5: .string(text())
        case 6: .array((0..<next(4)).map { _ in value(depth: depth - 1) })
        default: .object(Dictionary((0..<next(4)).map { _ in (text(), value(depth: depth - 1)) }) { $1 })
        }
    }

    private mutating func text() -> String {
        let pieces = ["a", "ready", "\"", "\\", "\n", "/", "é", "🎬", " ", "\u{7F}", "0"]
        return (0..<next(6)).map { _ in pieces[next(pieces.count)] }.joined()
    }
}
