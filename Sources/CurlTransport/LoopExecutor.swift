// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import Glibc
import NIOConcurrencyHelpers
import OutboundHTTP

/// The thread that `TransferLoop` runs on. It does jobs while there are any, and otherwise lets the loop wait inside
/// libcurl, out of which `curl_multi_wakeup` calls it for the next job.
final class LoopExecutor: SerialExecutor {
    private enum Entry {
        case job(UnownedJob)
        case cancel(TransferID)
    }

    private enum Phase {
        /// Next: closing.
        case open
        /// The transport is gone. Next: draining.
        case closing
        /// Nothing runs; what was waiting is told. Next: ended.
        case draining
        /// The thread takes no more jobs.
        case ended
    }

    private enum Step {
        case run([Entry])
        case turn
        case stop
        case end
    }

    private struct State {
        var phase = Phase.open
        var entries: [Entry] = []
        /// A wake-up is under way, so another would only cost.
        var isWoken = false
        /// Nil before the loop is made and once its handle is about to go.
        var waker: Waker?
        var thread: pthread_t?

        mutating func wake() {
            guard !isWoken, let waker else { return }
            isWoken = true
            waker.wake()
        }
    }

    private let state = NIOLockedValueBox(State())

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        append(.job(job))
    }

    func checkIsolated() {
        precondition(isIsolatingCurrentContext() == true, "TransferLoop was entered on a thread that is not its own")
    }

    func isIsolatingCurrentContext() -> Bool? {
        let thread = state.withLockedValue { $0.thread }
        return thread.map { pthread_equal(pthread_self(), $0) != 0 } ?? false
    }

    /// Ends a transfer as cancelled, if it is running; from any thread, after what is queued already.
    func cancel(_ id: TransferID) {
        append(.cancel(id))
    }

    /// The waker of the handle that the loop waits on.
    func attach(_ waker: Waker) {
        state.withLockedValue { $0.waker = waker }
    }

    /// Ends the thread when its queue is empty.
    func close() {
        state.withLockedValue { state in
            guard case .open = state.phase else { return }
            state.phase = .closing
            state.wake()
        }
    }

    private func append(_ entry: Entry) {
        state.withLockedValue { state in
            switch (state.phase, entry) {
            case (.open, _), (.closing, _), (.draining, _):
                state.entries.append(entry)
                // On the loop's own thread the queue is looked at before the next wait anyway.
                if state.thread.map({ pthread_equal(pthread_self(), $0) == 0 }) ?? true { state.wake() }
            case (.ended, .cancel):
                break
            case (.ended, .job):
                preconditionFailure("a job came for the transfer loop after its thread had ended")
            }
        }
    }
}

// MARK: - The thread

extension LoopExecutor {
    /// Both live as long as the thread does.
    private final class ThreadStart {
        let executor: LoopExecutor
        let loop: TransferLoop
        let name: String

        init(executor: LoopExecutor, loop: TransferLoop, name: String) {
            self.executor = executor
            self.loop = loop
            self.name = name
        }
    }

    func start(_ loop: TransferLoop, threadName: String) throws(TransferError) {
        let start = Unmanaged.passRetained(ThreadStart(executor: self, loop: loop, name: threadName))
        var thread = pthread_t()
        let result = pthread_create(&thread, nil, Self.threadMain, start.toOpaque())
        guard result == 0 else {
            start.release()
            let reason = String(cString: strerror(result))
            throw TransferError(code: .other, message: "no thread could be started for transfers: \(reason)")
        }
        pthread_detach(thread)
    }

    private static let threadMain: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { start in
        // Balances `passRetained` in `start`.
        let start = Unmanaged<ThreadStart>.fromOpaque(start!).takeRetainedValue()
        ccurl_set_thread_name(start.name)
        ignoreBrokenPipes()
        start.executor.run(start.loop)
        return nil
    }

    /// With `CURLOPT_NOSIGNAL` libcurl leaves SIGPIPE to us; blocked, it stays with the thread that wrote.
    private static func ignoreBrokenPipes() {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    private func run(_ loop: TransferLoop) {
        state.withLockedValue { $0.thread = pthread_self() }
        while true {
            switch nextStep() {
            case .run(let entries): entries.forEach { perform($0, on: loop) }
            case .turn: loop.assumeIsolated { $0.turn() }
            case .stop: loop.assumeIsolated { $0.stop() }
            case .end: return loop.assumeIsolated { $0.close() }
            }
        }
    }

    private func perform(_ entry: Entry, on loop: TransferLoop) {
        switch entry {
        case .job(let job): job.runSynchronously(on: asUnownedSerialExecutor())
        case .cancel(let id): loop.assumeIsolated { $0.cancel(id) }
        }
    }

    private func nextStep() -> Step {
        state.withLockedValue { state in
            guard state.entries.isEmpty else {
                state.isWoken = false
                defer { state.entries.removeAll() }
                return .run(state.entries)
            }
            switch state.phase {
            case .open:
                return .turn
            case .closing:
                state.phase = .draining
                return .stop
            case .draining:
                state.phase = .ended
                state.waker = nil
                return .end
            case .ended:
                preconditionFailure("the transfer loop's thread went on after its end")
            }
        }
    }
}

/// Calls a thread out of `curl_multi_poll`.
struct Waker: @unchecked Sendable {
    // Sendable because `curl_multi_wakeup`, the only use, is the one call that libcurl documents for any thread; the
    // executor's lock keeps it from coming after the handle's end.
    private let multi: UnsafeMutableRawPointer

    init(multi: UnsafeMutableRawPointer) {
        self.multi = multi
    }

    func wake() {
        curl_multi_wakeup(multi)
    }
}
