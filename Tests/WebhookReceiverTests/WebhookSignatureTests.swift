// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Foundation
import Testing
import WebhookReceiver

struct WebhookSignatureTests {
    struct Vector: Decodable, CustomTestStringConvertible {
        var name: String
        var secrets: [String]
        var body: String?
        var bodyFile: String?
        var header: String?
        var now: Int64
        var toleranceSeconds: Int64
        var result: String

        private enum CodingKeys: String, CodingKey {
            case name, secrets, body, header, now, result
            case bodyFile = "body_file"
            case toleranceSeconds = "tolerance_seconds"
        }

        var testDescription: String { name }
    }

    static let vectors: [Vector] =
        // An unreadable file shows as the failure of `vectorsAreThere`.
        (try? JSONDecoder().decode([Vector].self, from: Data(Fixture.bytes("signatures/vectors.json")))) ?? []

    private static func result(of check: () throws(SignatureRefusal) -> Void) -> String {
        do throws(SignatureRefusal) {
            try check()
            return "valid"
        } catch {
            switch error {
            case .missing: return "signature_missing"
            case .malformed: return "signature_malformed"
            case .mismatch: return "signature_mismatch"
            case .expired: return "signature_expired"
            }
        }
    }

    @Test func vectorsAreThere() {
        #expect(Self.vectors.count >= 35)
        #expect(Set(Self.vectors.map(\.result)).count == 5)
    }

    @Test(arguments: vectors)
    func vectorGivesItsResult(vector: Vector) throws {
        let body = try vector.bodyFile.map(Fixture.bytes) ?? Array((vector.body ?? "").utf8)
        let verifier = WebhookVerifier(
            secrets: WebhookSecrets(vector.secrets), tolerance: .seconds(vector.toleranceSeconds))
        let result = Self.result { () throws(SignatureRefusal) in
            let signature = try verifier.parse(vector.header.map { [$0] } ?? [])
            try verifier.verify(signature, body: body, now: Timestamp(seconds: vector.now))
        }
        #expect(result == vector.result)
    }

    @Test func twoHeaderLinesAreMalformed() {
        let header = WebhookVerifier.sign(secret: "s", time: Timestamp(seconds: 1), body: [])
        let verifier = WebhookVerifier(secrets: WebhookSecrets(["s"]), tolerance: .seconds(1))
        #expect(throws: SignatureRefusal.malformed) { try verifier.parse([header, header]) }
    }

    @Test func ageOfAnExpiredSignatureIsTold() throws {
        let header = WebhookVerifier.sign(secret: "s", time: Timestamp(seconds: 1_000), body: [1])
        let verifier = WebhookVerifier(secrets: WebhookSecrets(["s"]), tolerance: .seconds(300))
        let signature = try verifier.parse([header])
        #expect(throws: SignatureRefusal.expired(ageSeconds: 412)) {
            try verifier.verify(signature, body: [1], now: Timestamp(seconds: 1_412))
        }
        #expect(throws: SignatureRefusal.expired(ageSeconds: -301)) {
            try verifier.verify(signature, body: [1], now: Timestamp(milliseconds: 699_999))
        }
    }

    @Test func whatIsSignedIsVerifiedWithAnySecretOfMany() throws {
        var random = SplitMix64(seed: 11)
        for length in [0, 1, 63, 64, 65, 1_000, 262_144] {
            let body = random.bytes(length)
            let secrets = (0..<20).map { _ in random.bytes(16).map { String($0, radix: 16) }.joined() }
            let verifier = WebhookVerifier(secrets: WebhookSecrets(secrets), tolerance: .seconds(300))
            for secret in [secrets[0], secrets[7], secrets[19]] {
                let now = Timestamp(seconds: 1_800_000_000)
                let signature = try verifier.parse([WebhookVerifier.sign(secret: secret, time: now, body: body)])
                try verifier.verify(signature, body: body, now: now)
                #expect(throws: SignatureRefusal.mismatch) {
                    try verifier.verify(signature, body: body + [0], now: now)
                }
            }
        }
    }

    @Test(arguments: [
        "", ",", "=", "==", ",,,", "time", "time=", "sig1=", "time,sig1", "=1,=2", "time==1,sig1==a",
        "time=1;sig1=a", "time=1 2,sig1=HEX", "time=1e3,sig1=HEX", "time=0x1,sig1=HEX", "time=１,sig1=HEX",
        "time=1,sig1=HEX HEX",
        "time=1,sig1=", "time=1,sig1=HEXHEX", "time=1,sig1=\u{0}", "time=1,time=,sig1=HEX", "time=,time=1,sig1=HEX",
        "time=1,sig1=HEX,sig1=", "time=1,sig1=,sig1=HEX", "time=1,sig1=HEX, sig1 =HEX", "ti me=1,sig1=HEX",
        "time=1234567890123,sig1=HEX", "time=1\u{0},sig1=HEX", "\u{FEFF}time=1,sig1=HEX", "time=1,sig1=\"HEX\"",
        "TIME=1,sig1=HEX", "time:1,sig1:HEX", "sig1=HEX", "time=1,sig2=HEX", "time=\n1,sig1=HEX",
    ])
    func headerThatIsNotOfTheFormIsRefused(text: String) {
        let header = text.replacing("HEX", with: String(repeating: "0a", count: 32))
        #expect(WebhookSignature(header: header.utf8) == nil)
    }

    @Test func headerOfAnySizeIsAnswered() {
        let hex = String(repeating: "0", count: 64)
        #expect(WebhookSignature(header: "time=1,sig1=\(hex),\(String(repeating: "x", count: 900))".utf8) != nil)
        #expect(WebhookSignature(header: "time=1,sig1=\(hex),\(String(repeating: "x", count: 1_000))".utf8) == nil)
        #expect(WebhookSignature(header: String(repeating: "time=1,", count: 100_000).utf8) == nil)
        #expect(WebhookSignature(header: [UInt8](repeating: 0x2C, count: 1 << 20)) == nil)
    }

    @Test func randomBytesNeverTrapAndAreNeverBelieved() {
        var random = SplitMix64(seed: 20_261_006)
        let valid = Array(WebhookVerifier.sign(secret: "s", time: Timestamp(seconds: 1_230_811_200), body: []).utf8)
        let alphabet = Array("time=sig1,0123456789abcdefABCDEF \t=,".utf8) + [0, 0x80, 0xFF]
        let verifier = WebhookVerifier(secrets: WebhookSecrets(["another"]), tolerance: .seconds(300))
        for round in 0..<20_000 {
            let header: [UInt8]
            switch round % 3 {
            case 0:
                header = random.bytes(Int.random(in: 0...120, using: &random))
            case 1:
                header = (0..<Int.random(in: 0...120, using: &random)).map { _ in
                    alphabet.randomElement(using: &random) ?? 0
                }
            default:
                var mutated = valid
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let index = Int.random(in: mutated.indices, using: &random)
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: mutated[index] = alphabet.randomElement(using: &random) ?? 0
                    case 1: mutated.remove(at: index)
                    default: mutated.insert(alphabet.randomElement(using: &random) ?? 0, at: index)
                    }
                }
                header = mutated
            }
            guard let signature = WebhookSignature(header: header) else { continue }
            #expect(signature.time >= 0)
            #expect(throws: SignatureRefusal.self) {
                try verifier.verify(signature, body: [], now: Timestamp(seconds: signature.time))
            }
        }
    }
}
