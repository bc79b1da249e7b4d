// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// The bandwidth budgets of one transport and whether each direction may move now. Not Sendable: it stays on the loop,
/// where its transfers spend and its driver asks.
final class BandwidthLimiter {
    struct Gates: Equatable {
        var isDownloadOpen = true
        var isUploadOpen = true
    }

    private var download: BandwidthBudget?
    private var upload: BandwidthBudget?

    init(_ settings: TransferSettings, at now: ContinuousClock.Instant) {
        download = settings.downloadBytesPerSecondMax.map { BandwidthBudget(bytesPerSecond: $0, at: now) }
        upload = settings.uploadBytesPerSecondMax.map { BandwidthBudget(bytesPerSecond: $0, at: now) }
    }

    var limitsAnything: Bool { download != nil || upload != nil }

    func spendDownload(_ bytes: Int) { download?.spend(bytes) }
    func spendUpload(_ bytes: Int) { upload?.spend(bytes) }

    func gates(at now: ContinuousClock.Instant) -> Gates {
        download?.fill(at: now)
        upload?.fill(at: now)
        return Gates(isDownloadOpen: download?.isOpen ?? true, isUploadOpen: upload?.isOpen ?? true)
    }

    /// How long until one of those of `gates` that are shut may open, nil where none is. Nothing, where there has come
    /// to be credit since they were set.
    func opens(_ gates: Gates, after now: ContinuousClock.Instant) -> Duration? {
        let waits = [
            gates.isDownloadOpen ? nil : download?.opens(after: now),
            gates.isUploadOpen ? nil : upload?.opens(after: now),
        ]
        return waits.compactMap { $0 }.min()
    }
}
