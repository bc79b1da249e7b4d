// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Tells public addresses from those that lead into somebody's own network: `AddressPolicy.publicOnly`.
///
/// IPv4 is judged by a list of what is refused, after IANA's special-purpose registry. IPv6 is judged the other way
/// round, because only 2000::/3 is given out as global unicast; forms that carry an IPv4 address are judged by that.
enum AddressRules {
    /// `address` is the 4 or 16 bytes of an address in network order; any other length is not public.
    static func isPublic(_ address: [UInt8]) -> Bool {
        switch address.count {
        case 4: isPublicV4(address[...])
        case 16: isPublicV6(address)
        default: false
        }
    }

    private static func isPublicV4(_ address: ArraySlice<UInt8>) -> Bool {
        !refusedV4.contains { $0.contains(address) }
    }

    private static func isPublicV6(_ address: [UInt8]) -> Bool {
        if v4Mapped.contains(address[...]) || nat64.contains(address[...]) { return isPublicV4(address[12...]) }
        if sixToFour.contains(address[...]) { return isPublicV4(address[2..<6]) }
        return globalUnicast.contains(address[...]) && !refusedV6.contains { $0.contains(address[...]) }
    }

    private static let refusedV4 = [
        Prefix([0], 8),  // this network
        Prefix([10], 8),  // private
        Prefix([100, 64], 10),  // carrier-grade NAT
        Prefix([127], 8),  // loopback
        Prefix([169, 254], 16),  // link-local, with the clouds' metadata services
        Prefix([172, 16], 12),  // private
        Prefix([192, 0, 0], 24),  // protocol assignments
        Prefix([192, 0, 2], 24),  // documentation
        Prefix([192, 88, 99], 24),  // former 6to4 relays
        Prefix([192, 168], 16),  // private
        Prefix([198, 18], 15),  // benchmarks
        Prefix([198, 51, 100], 24),  // documentation
        Prefix([203, 0, 113], 24),  // documentation
        Prefix([224], 4),  // multicast
        Prefix([240], 4),  // reserved, with the broadcast address
    ]

    private static let globalUnicast = Prefix([0x20], 3)
    private static let v4Mapped = Prefix([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], 96)
    private static let nat64 = Prefix([0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0], 96)
    private static let sixToFour = Prefix([0x20, 0x02], 16)

    private static let refusedV6 = [
        Prefix([0x20, 0x01, 0x00], 23),  // protocol assignments: Teredo, benchmarks, ORCHID
        Prefix([0x20, 0x01, 0x0D, 0xB8], 32),  // documentation
        Prefix([0x3F, 0xFF, 0x00], 20),  // documentation
    ]

    /// The first `length` bits of an address.
    private struct Prefix {
        let bytes: [UInt8]
        let length: Int

        init(_ bytes: [UInt8], _ length: Int) {
            self.bytes = bytes
            self.length = length
        }

        func contains(_ address: ArraySlice<UInt8>) -> Bool {
            for (index, (mine, theirs)) in zip(bytes, address).enumerated() {
                let bits = min(8, length - index * 8)
                if (mine ^ theirs) >> UInt8(8 - bits) != 0 { return false }
            }
            return true
        }
    }
}
