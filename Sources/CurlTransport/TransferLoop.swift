// clipbridge
// SPDX-License-Identifier: Apache-2.0

import OutboundHTTP

/// Every libcurl handle of one transport, and the only place from which they are used: its isolation is the thread of
/// `LoopExecutor`.
actor TransferLoop {
    private nonisolated let executor: LoopExecutor
    private let settings: TransferSettings
    private let driver: CurlDriver
    private var isStopped = false

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(executor: LoopExecutor, settings: TransferSettings) throws(TransferError) {
        let driver = try CurlDriver(settings)
        self.executor = executor
        self.settings = settings
        self.driver = driver
        executor.attach(driver.waker)
    }

    func run(_ request: OutboundRequest) async -> Result<OutboundResponse, TransferError> {
        let id = TransferID()
        let transfer: Transfer
        do throws(TransferError) {
            transfer = try Transfer(id: id, request: request, settings: settings, limiter: driver.limiter)
        } catch {
            return .failure(error)
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { start(transfer, $0) }
        } onCancel: {
            executor.cancel(id)
        }
    }

    private func start(_ transfer: Transfer, _ continuation: Transfer.Continuation) {
        // The flag is set before cancellation handlers run: a cancellation is seen here, or its entry comes after the
        // transfer was added.
        if Task.isCancelled {
            continuation.resume(
                returning: .failure(transfer.ended(Failure(code: .cancelled, reason: "its task was cancelled")))
            )
        } else if isStopped {
            continuation.resume(returning: .failure(transfer.ended(Self.stopped)))
        } else {
            driver.add(transfer, continuation)
        }
    }

    func stop() {
        isStopped = true
        driver.endAll(Self.stopped)
    }

    func cancel(_ id: TransferID) {
        driver.end(id, Failure(code: .cancelled, reason: "its task was cancelled"))
    }

    /// Waits for something to do and does it.
    func turn() {
        driver.wait()
        driver.perform()
    }

    func close() {
        driver.close()
    }

    private static let stopped = Failure(code: .stopped, reason: "the transport was stopped")
}
