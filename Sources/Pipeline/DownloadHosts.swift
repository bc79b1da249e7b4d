// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import OutboundHTTP

/// The hosts that MP4s may be fetched from.
///
/// An entry is a host, or `*.` and a domain for all hosts below it, either with a port. Without a port only HTTPS' own
/// is meant. Plain HTTP is for loopback hosts that are named, on the port that is named or else on any; never for a
/// wildcard.
package struct DownloadHosts: Sendable, Equatable {
    private struct Entry: Sendable, Equatable {
        var host: String
        var isWildcard: Bool
        var port: Int?
    }

    /// Where a URL may be fetched from, and how the address has to be checked.
    package struct Permission: Sendable, Equatable {
        package var addressPolicy: AddressPolicy
    }

    private let entries: [Entry]

    /// Throws the entry that is wrong, where one is.
    package init(_ entries: [String]) throws(InvalidEntry) {
        var parsed: [Entry] = []
        for text in entries {
            guard let entry = Self.parse(text) else { throw InvalidEntry(text: text) }
            parsed.append(entry)
        }
        self.entries = parsed
    }

    package struct InvalidEntry: Error {
        package var text: String
    }

    /// Nil when the URL's host, port or scheme is not allowed.
    package func permission(for url: String) -> Permission? {
        // Strict, so that no other reader of the URL can take it for another host's.
        guard let components = URLComponents(string: url, encodingInvalidCharacters: false),
            let host = components.host?.lowercased(), !host.isEmpty,
            components.user == nil, components.password == nil, let scheme = components.scheme?.lowercased()
        else { return nil }
        // A percent-encoded delimiter would be part of the name here, and its end for somebody else.
        guard host.utf8.allSatisfy(Self.isOfHosts) else { return nil }
        let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        return entries.lazy.compactMap { permission($0, scheme: scheme, host: bare, port: components.port) }.first
    }

    private func permission(_ entry: Entry, scheme: String, host: String, port: Int?) -> Permission? {
        let matches = entry.isWildcard ? host.hasSuffix(".\(entry.host)") : host == entry.host
        guard matches else { return nil }
        switch scheme {
        case "https":
            guard port ?? 443 == entry.port ?? 443 else { return nil }
        case "http":
            guard !entry.isWildcard, Self.isLoopback(host), port ?? 80 == entry.port ?? port ?? 80 else { return nil }
        default:
            return nil
        }
        return Permission(addressPolicy: entry.isWildcard ? .publicOnly : .any)
    }

    private static func isOfHosts(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
            UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"):
            true
        default: false
        }
    }

    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host.wholeMatch(of: /127\.\d+\.\d+\.\d+/) != nil
    }

    private static func parse(_ text: String) -> Entry? {
        var rest = text.trimmingCharacters(in: .whitespaces).lowercased()
        let isWildcard = rest.hasPrefix("*.")
        if isWildcard { rest.removeFirst(2) }
        var port: Int?
        if let match = rest.wholeMatch(of: /(\[[0-9a-f:]+\]|[^:\[\]]+):(\d{1,5})/) {
            guard let number = Int(match.output.2), (1...65_535).contains(number) else { return nil }
            port = number
            rest = String(match.output.1)
        }
        if rest.hasPrefix("["), rest.hasSuffix("]") { rest = String(rest.dropFirst().dropLast()) }
        let isAddress = rest.wholeMatch(of: /[0-9a-f:]*:[0-9a-f:]*/) != nil
        guard isAddress || rest.wholeMatch(of: /[a-z0-9]([a-z0-9.-]*[a-z0-9])?/) != nil else { return nil }
        return Entry(host: rest, isWildcard: isWildcard, port: port)
    }
}
