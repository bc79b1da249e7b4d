// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import OutboundHTTP

/// Owns the multi handle and, while they run, the transfers in it. Not Sendable: the compiler keeps it on the loop.
final class CurlDriver {
    /// libcurl shortens the wait by its own timers and a job ends it; there is nothing else to wake up for.
    private static let waitMilliseconds: CInt = 3_600_000
    /// Nothing to do for this long, and what has arrived goes to its file.
    private static let quietMilliseconds: CInt = 10

    private struct Running {
        let transfer: Transfer
        let continuation: Transfer.Continuation
    }

    private let multi: UnsafeMutableRawPointer
    private var running: [TransferID: Running] = [:]
    private var gates = BandwidthLimiter.Gates()
    private var isOpen = true

    let waker: Waker
    let limiter: BandwidthLimiter

    init(_ settings: TransferSettings) throws(TransferError) {
        guard let multi = curl_multi_init() else {
            throw TransferError(code: .other, message: "libcurl has no memory for a multi handle")
        }
        self.multi = multi
        self.waker = Waker(multi: multi)
        self.limiter = BandwidthLimiter(settings, at: .now)
        // Fails only for values that do not fit, and the default would do.
        _ = ccurl_multi_set_idle_connections(multi, settings.idleConnectionsMax)
    }

    deinit {
        // Only where the thread could not be started; otherwise it has closed the handle.
        if isOpen { close() }
    }

    func add(_ transfer: Transfer, _ continuation: Transfer.Continuation) {
        let code = curl_multi_add_handle(multi, transfer.easy)
        guard code == CURLM_OK else {
            let reason = String(cString: curl_multi_strerror(code))
            return continuation.resume(
                returning: .failure(transfer.ended(Failure(code: .other, reason: "libcurl did not take it: \(reason)")))
            )
        }
        transfer.set(gates)
        running[transfer.id] = Running(transfer: transfer, continuation: continuation)
    }

    /// Moves what can be moved and tells those who wait for what is done.
    func perform() {
        setGates()
        var count: CInt = 0
        check(curl_multi_perform(multi, &count))
        while true {
            let done = ccurl_multi_next_done(multi)
            guard let easy = done.easy else { return }
            finish(easy, done.code)
        }
    }

    func wait() {
        let wait = limiter.limitsAnything ? limiter.opens(gates, after: .now) : nil
        let milliseconds = wait.map { CInt(clamping: $0.wholeMilliseconds) } ?? Self.waitMilliseconds
        let unwritten = running.values.filter(\.transfer.hasUnwritten)
        var ready: CInt = 0
        let limit = unwritten.isEmpty ? milliseconds : min(milliseconds, Self.quietMilliseconds)
        check(ccurl_multi_poll(multi, limit, &ready))
        if ready > 0 { return }
        for entry in unwritten { flush(entry.transfer) }
    }

    private func flush(_ transfer: Transfer) {
        do throws(Failure) {
            try transfer.flush()
        } catch {
            end(transfer.id, error)
        }
    }

    /// Lets the file transfers go on, or holds them, as there is bandwidth left.
    private func setGates() {
        guard limiter.limitsAnything else { return }
        let current = limiter.gates(at: .now)
        guard current != gates else { return }
        gates = current
        for entry in running.values { entry.transfer.set(current) }
    }

    func end(_ id: TransferID, _ failure: Failure) {
        guard let entry = remove(id) else { return }
        entry.continuation.resume(returning: .failure(entry.transfer.ended(failure)))
    }

    func endAll(_ failure: Failure) {
        for id in Array(running.keys) { end(id, failure) }
    }

    func close() {
        precondition(isOpen && running.isEmpty, "the multi handle was closed with \(running.count) transfers in it")
        isOpen = false
        curl_multi_cleanup(multi)
    }

    private func finish(_ easy: UnsafeMutableRawPointer, _ code: CURLcode) {
        guard let owner = ccurl_get_private(easy) else {
            preconditionFailure("libcurl finished a handle without its owner")
        }
        // Unretained: `running` holds the transfer until `remove`.
        let id = Unmanaged<Transfer>.fromOpaque(owner).takeUnretainedValue().id
        guard let entry = remove(id) else { preconditionFailure("libcurl finished a transfer that is not running") }
        if entry.transfer.startsOver(after: code) { return add(entry.transfer, entry.continuation) }
        entry.continuation.resume(returning: entry.transfer.finished(code))
    }

    /// Out of libcurl's hands first: the handle must not be freed inside the multi handle.
    private func remove(_ id: TransferID) -> Running? {
        guard let entry = running.removeValue(forKey: id) else { return nil }
        check(curl_multi_remove_handle(multi, entry.transfer.easy))
        return entry
    }

    /// Other than for lack of memory these calls fail only when they are misused.
    private func check(_ code: CURLMcode) {
        precondition(code == CURLM_OK, "libcurl's multi handle: \(String(cString: curl_multi_strerror(code)))")
    }
}
