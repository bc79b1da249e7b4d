// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Glibc
import OutboundHTTP

/// What every transfer of one transport has in common, read and checked once.
struct TransferSettings: Sendable {
    /// Never sent through a proxy.
    private static let direct = "localhost,127.0.0.0/8,::1"

    let userAgent: String
    let extraAuthoritiesFile: String?
    /// What is reached without a proxy, nil for everything.
    let noProxy: String?
    let idleConnectionsMax: Int
    let downloadBytesPerSecondMax: UInt64?
    let uploadBytesPerSecondMax: UInt64?

    init(_ configuration: CurlTransport.Configuration) throws(TransferError) {
        userAgent = configuration.userAgent
        idleConnectionsMax = max(1, configuration.idleConnectionsMax)
        downloadBytesPerSecondMax = configuration.downloadBytesPerSecondMax.flatMap { $0 > 0 ? $0 : nil }
        uploadBytesPerSecondMax = configuration.uploadBytesPerSecondMax.flatMap { $0 > 0 ? $0 : nil }
        extraAuthoritiesFile = configuration.extraAuthoritiesFile
        noProxy = configuration.proxy == .environment ? Self.noProxyFromEnvironment() : nil
        // libcurl reads the file only at the first connection, and says little then.
        if let path = extraAuthoritiesFile, access(path, R_OK) != 0 {
            let reason = String(cString: strerror(errno))
            throw TransferError(code: .tls, message: "the authorities file \"\(path)\" is not readable: \(reason)")
        }
    }

    /// Setting the list replaces the environment's, so that one is read here and added to.
    private static func noProxyFromEnvironment() -> String {
        guard let given = environment("no_proxy") ?? environment("NO_PROXY"), !given.isEmpty else { return direct }
        // Alone, the star means every host; inside a list it means nothing.
        return given == "*" ? given : "\(given),\(direct)"
    }

    private static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }
}
