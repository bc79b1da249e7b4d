// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipStore
import Crypto
import Foundation
package import OutboundHTTP

/// A receiver that is told: its URL, and the name by which store, metrics and log know it.
package struct OutgoingTarget: Sendable, Equatable {
    package typealias Kind = OutboxMessage.Kind

    package let kind: Kind
    /// May hold a secret: it is neither stored nor logged.
    package let url: String
    /// All of the URL that is logged.
    package let host: String
    /// A short digest of kind and URL, so that one receiver of both kinds is two targets.
    package let id: String
    package let addressPolicy: AddressPolicy

    /// Nil for what is no absolute `https` URL without user and fragment; `http`, loopback and private addresses are
    /// for hosts that are named.
    package init?(_ url: String, kind: Kind, namedHosts: NamedHosts) {
        // Strict, so that no other reader of the URL can take it for another host's.
        guard let components = URLComponents(string: url, encodingInvalidCharacters: false),
            let host = components.percentEncodedHost?.lowercased(),
            host.wholeMatch(of: /\[[0-9a-f:]+\]|[a-z0-9._-]+/) != nil,
            components.user == nil, components.password == nil, components.fragment == nil
        else { return nil }
        let isNamed = namedHosts.contains(host, port: components.port)
        switch components.scheme?.lowercased() {
        case "https": break
        case "http" where isNamed: break
        default: return nil
        }
        self.kind = kind
        self.url = url
        self.host = components.port.map { "\(host):\($0)" } ?? host
        self.id = SHA256.hash(data: Array("\(kind.rawValue) \(url)".utf8)).prefix(6).reduce(into: "") { text, byte in
            text += byte < 0x10 ? "0" : ""
            text += String(byte, radix: 16)
        }
        self.addressPolicy = isNamed ? .any : .publicOnly
    }
}

/// Hosts, each with a port or for any, that may be private or loopback or speak plain HTTP.
package struct NamedHosts: Sendable, Equatable {
    private struct Entry: Sendable, Equatable {
        var host: String
        var port: Int?
    }

    private let entries: [Entry]

    /// Nil when one of them is no host.
    package init?(_ texts: [String]) {
        var entries: [Entry] = []
        for text in texts {
            guard let match = text.lowercased().wholeMatch(of: /(\[[0-9a-f:]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?/) else {
                return nil
            }
            let port = match.output.2.flatMap { Int($0) }
            guard port.map({ (1...65_535).contains($0) }) ?? true else { return nil }
            entries.append(Entry(host: String(match.output.1), port: port))
        }
        self.entries = entries
    }

    func contains(_ host: String, port: Int?) -> Bool {
        entries.contains { $0.host == host && ($0.port == nil || $0.port == port) }
    }
}
