// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Sandbox
import Testing

/// A few thousand inputs for each target; `deploy/fuzz.sh` runs millions, and looks where they lead.
@Suite struct FuzzTests {
    private static let fixtures = (0..<3).reduce(URL(filePath: #filePath)) { path, _ in
        path.deletingLastPathComponent()
    }.appending(path: "fixtures")

    /// Inputs that are there, in the order of their names.
    private static func seeds(_ target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
        try target.corpora.flatMap { folder in
            let names = try FileManager.default.contentsOfDirectory(atPath: fixtures.appending(path: folder).path())
            return try names.sorted().map { name in
                let path = "\(folder)/\(name)"
                return (path, try [UInt8](Data(contentsOf: fixtures.appending(path: path))))
            }
        }
    }

    @Test(arguments: FuzzTarget.allCases)
    func seedsKeepEveryPromiseAndAreTakenOrRefused(target: FuzzTarget) throws {
        var outcomes: Set<Bool> = []
        for (name, bytes) in try Self.seeds(target) {
            do {
                outcomes.insert(try target.run(bytes))
            } catch {
                Issue.record("\(name): \(error)")
            }
        }
        #expect(outcomes == [true, false])
    }

    @Test(arguments: FuzzTarget.allCases)
    func mutantsOfTheSeedsKeepEveryPromise(target: FuzzTarget) throws {
        let seeds = try Self.seeds(target).map(\.bytes).filter { $0.count < 4_096 }
        var mutator = Mutator(seed: 20_260_101)
        for _ in 0..<target.mutants {
            let input = mutator.mutant(of: seeds)
            do {
                _ = try target.run(input)
            } catch {
                Issue.record("\(error), by the bytes \(Data(input).base64EncodedString()) in Base64")
            }
        }
    }
}

extension FuzzTarget {
    /// As many as take about a second.
    fileprivate var mutants: Int {
        switch self {
        case .signature, .place: 10_000
        case .body, .answer: 2_000
        case .storage, .settings: 500
        }
    }
}

/// Makes inputs of others, the same ones for the same seed.
private struct Mutator {
    /// What parsers look at.
    private static let words = [
        "\"", "{", "}", "[", "]", ",", ":", "<", ">", "&", "=", "%", "\n", "\0", "null", "true", "-1", "0", "1e999",
        "1e-320", "9223372036854775808", "\u{202E}", "\\ud800", "\u{301}",
    ].map { Array($0.utf8) }

    private var random: SplitMix64

    init(seed: UInt64) { random = SplitMix64(state: seed) }

    mutating func mutant(of seeds: [[UInt8]]) -> [UInt8] {
        var bytes = seeds.randomElement(using: &random) ?? []
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            let start = Int.random(in: 0...bytes.count, using: &random)
            let end = min(bytes.count, start + Int.random(in: 0...8, using: &random))
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes.replaceSubrange(start..<end, with: [])
            case 1: bytes.insert(.random(in: 0...255, using: &random), at: start)
            case 2: bytes.replaceSubrange(start..<end, with: Self.words.randomElement(using: &random) ?? [])
            case 3: bytes.insert(contentsOf: bytes[start..<end], at: start)
            default:
                let other = seeds.randomElement(using: &random) ?? []
                bytes.replaceSubrange(start..., with: other.dropFirst(start))
            }
        }
        return bytes
    }
}
