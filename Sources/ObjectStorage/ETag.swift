// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials

/// What S3 and R2 make of an object's bytes: the MD5 of a single put, and for a multipart upload the MD5 of its
/// parts' binary MD5s, a hyphen and their number.
package enum ETag {
    /// The tag of an object made of parts with these MD5s (hexadecimal, quoted or not); nil if one is no MD5.
    package static func ofParts(_ partMD5s: [String]) -> String? {
        guard !partMD5s.isEmpty else { return nil }
        var digests: [UInt8] = []
        for text in partMD5s {
            guard let digest = bytes(hexadecimal: unquoted(text)), digest.count == 16 else { return nil }
            digests += digest
        }
        return "\(hexadecimal(Insecure.MD5.hash(data: Data(digests))))-\(partMD5s.count)"
    }

    /// Without quotes and without the mark of a weak tag, as it is stored and compared.
    package static func unquoted(_ tag: String) -> String {
        // By scalars: with a combining mark behind it a quote is another character.
        var tag = tag.unicodeScalars[...]
        if tag.starts(with: "W/".unicodeScalars) || tag.starts(with: "w/".unicodeScalars) { tag = tag.dropFirst(2) }
        if tag.count >= 2, tag.first == "\"", tag.last == "\"" { tag = tag.dropFirst().dropLast() }
        return String(String.UnicodeScalarView(tag))
    }

    /// Whether both name the same bytes, quoted or not, hexadecimal digits in either case.
    package static func isSame(_ left: String, _ right: String) -> Bool {
        unquoted(left).lowercased() == unquoted(right).lowercased()
    }
}
