// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Crypto
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOConcurrencyHelpers

/// Begins and checks sessions of the dashboard.
///
/// A session is its cookie: `expiry.nonce.code`, the code by a key that comes from the admin token. Nothing is kept, so
/// a session outlives a restart and is good at every replica, and a new token ends all of them.
struct DashboardSessions: Sendable {
    static let cookieName = "clipbridge_session"
    static let lifetime = Duration.seconds(12 * 3600)

    private let adminToken: String
    private let key: SymmetricKey

    init(adminToken: String) {
        self.adminToken = adminToken
        key = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: Data(adminToken.utf8)), info: Data("clipbridge session 1".utf8),
            outputByteCount: 32)
    }

    func isToken(_ given: String) -> Bool { ConstantTime.equal(given, adminToken) }

    /// A new session's cookie.
    func begin(at now: Timestamp) -> String {
        let nonce = Data((0..<16).map { _ in UInt8.random(in: 0...255) }).hexadecimal
        let name = "\((now + Self.lifetime).seconds).\(nonce)"
        return "\(name).\(DashboardSession.code("session \(name)", key))"
    }

    /// Nil without a cookie of ours, and after its time.
    func session(of request: Request, at now: Timestamp) -> DashboardSession? {
        // Of several cookies with the name, which a browser sends for several paths, one that is ours will do.
        let cookies = request.headers[values: .cookie].flatMap { $0.split(separator: ";") }
        for cookie in cookies {
            let sides = cookie.split(separator: "=", maxSplits: 1)
            guard sides.count == 2, sides[0].drop(while: { $0 == " " }) == Self.cookieName else { continue }
            if let session = session(String(sides[1]), at: now) { return session }
        }
        return nil
    }

    private func session(_ cookie: String, at now: Timestamp) -> DashboardSession? {
        let parts = cookie.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let expiry = Int64(parts[0]), expiry > now.seconds else { return nil }
        let name = "\(parts[0]).\(parts[1])"
        guard ConstantTime.equal(String(parts[2]), DashboardSession.code("session \(name)", key)) else { return nil }
        return DashboardSession(name: name, key: key)
    }
}

/// A session that was checked.
struct DashboardSession: Sendable {
    fileprivate let name: String
    fileprivate let key: SymmetricKey

    /// What the session's own pages know, and no other site.
    var csrfToken: String { Self.code("csrf \(name)", key) }

    func accepts(csrfToken given: String) -> Bool { ConstantTime.equal(given, csrfToken) }

    fileprivate static func code(_ text: String, _ key: SymmetricKey) -> String {
        Data(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: key)).hexadecimal
    }
}

extension Data {
    var hexadecimal: String {
        map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0\(digits)" : digits
        }.joined()
    }
}

/// Slows down whoever tries tokens, and nobody else: a right one never waits.
final class LogInLimit: Sendable {
    private static let delay = Duration.seconds(1)
    /// How many failed log-ins may wait at a time; one that comes on top is told to come later.
    private static let waitingMax = 32

    private let waiting = NIOLockedValueBox(0)

    /// Returns after the delay.
    /// - Throws: `Problem` when too many wait.
    func delayFailure(clock: any WallClock) async throws {
        let isFull = waiting.withLockedValue { waiting in
            if waiting >= Self.waitingMax { return true }
            waiting += 1
            return false
        }
        if isFull {
            throw Problem(
                status: .tooManyRequests, detail: "too many log-ins have failed just now: try again",
                headers: [.retryAfter: "2"])
        }
        defer { waiting.withLockedValue { $0 -= 1 } }
        try await clock.sleep(for: Self.delay)
    }
}
