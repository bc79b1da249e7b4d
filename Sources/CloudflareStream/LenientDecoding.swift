// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Reads what can be read: a member that is absent, null or of another type than expected is nil, never a failure.
///
/// Cloudflare's specification calls nothing nullable while its own samples hold nulls, and fields come and go; one odd
/// member must not cost us the rest of the object.
extension KeyedDecodingContainer {
    package func lenient<Value: Decodable>(_ type: Value.Type, _ key: Key) -> Value? {
        try? decodeIfPresent(type, forKey: key)
    }

    /// A text that is not empty.
    package func lenientText(_ key: Key) -> String? {
        guard let text = lenient(String.self, key), !text.isEmpty else { return nil }
        return text
    }

    /// A finite number, also where it is spelled as a string.
    package func lenientNumber(_ key: Key) -> Double? {
        guard let number = lenient(Double.self, key) ?? lenient(String.self, key).flatMap(Double.init),
            number.isFinite
        else { return nil }
        return number
    }

    package func lenientWhole(_ key: Key) -> Int64? {
        lenientNumber(key).flatMap { Int64(exactly: $0) }
    }
}

/// An element of a list that is skipped when it can not be read.
struct Lenient<Value: Decodable>: Decodable {
    var value: Value?

    init(from decoder: any Decoder) {
        value = try? Value(from: decoder)
    }
}
