// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CFuzzer
import Foundation

/// libFuzzer on one target: `Fuzzer TARGET [FOLDER] [OPTION…]`, options and the folder for finds being libFuzzer's; to
/// be run in the package's folder, where the inputs to begin with are.
@main
struct Fuzzer {
    static func main() {
        guard let target else {
            let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: " ")
            try? FileHandle.standardOutput.write(contentsOf: Data("\(names)\n".utf8))
            exit(CommandLine.arguments.count > 1 ? 64 : 0)
        }
        let rest = CommandLine.arguments.dropFirst(2)
        // An input that is to be run again stands alone.
        let isReplay = rest.contains { !$0.hasPrefix("-") && !Self.isFolder($0) }
        let corpora = isReplay ? [] : target.corpora.map { "fixtures/\($0)" }.filter(Self.isFolder)
        let arguments = CommandLine.arguments.prefix(1) + rest + corpora
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var count = Int32(arguments.count)
        let status = pointers.withUnsafeMutableBufferPointer { pointers in
            var base = pointers.baseAddress
            return LLVMFuzzerRunDriver(&count, &base) { bytes, count in
                Fuzzer.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
                return 0
            }
        }
        exit(status)
    }

    private static let target = CommandLine.arguments.dropFirst().first.flatMap(FuzzTarget.init)

    private static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
    }

    private static func run(_ bytes: [UInt8]) {
        do throws(BrokenPromise) {
            _ = try target?.run(bytes)
        } catch {
            // A trap is how a target tells libFuzzer that this input is a finding.
            fatalError("broken promise: \(error)")
        }
    }
}
