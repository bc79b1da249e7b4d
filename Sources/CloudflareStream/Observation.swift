// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

// The one place where Cloudflare's words become ours.

extension StreamVideo {
    /// What the object says about the clip: the status it asks for, how far that is, and details.
    ///
    /// Where it tells of encoding and of the MP4, the further of the two counts; a failed video is failed whatever else
    /// it says.
    package var observation: Observation {
        var encoded = Observation(status: state?.requestedStatus, percent: percentOfStage, details: details)
        guard encoded.status != .error, let download else { return encoded }
        let mp4 = download.observation(of: uid)
        encoded.details.merge(mp4.details) { _, mp4 in mp4 }
        if let further = mp4.status, further > encoded.status ?? .uploading {
            encoded.status = further
            encoded.percent = mp4.percent
        }
        return encoded
    }

    /// `pctComplete` counts renditions, so it says nothing of a video that only waits or is playable already.
    private var percentOfStage: Double? {
        switch state?.requestedStatus {
        case .uploading, .processing: pctComplete.map { min(max($0, 0), 100) }
        default: nil
        }
    }

    private var details: Details {
        var details: Details = [:]
        details[.cloudflareStatus] = state.map { .string($0.word) }
        details[.name] = name.flatMap { $0.isEmpty ? nil : .string(DisplayText.bounded($0, lengthMax: 200)) }
        details[.thumbnailURL] = plainURL(thumbnail)
        details[.hlsURL] = plainURL(hls)
        details[.dashURL] = plainURL(dash)
        details[.duration] = durationSeconds.map(JSONValue.init(number:))
        if state == .error {
            details[.errorCode] = errorReasonCode.map { .string(DisplayText.bounded($0, lengthMax: 64)) }
            details[.errorMessage] = .string(EncodeFailure.message(code: errorReasonCode, text: errorReasonText))
        }
        return details
    }

    private func plainURL(_ text: String?) -> JSONValue? {
        text.flatMap { StreamURL.isPlain($0, of: uid) ? .string($0) : nil }
    }
}

extension StreamDownload {
    /// What the download says about its clip.
    ///
    /// A failed download asks for `waitformp4` and not for `error`: the signal makes the clip's own inquiry due, which
    /// learns of the failure from Cloudflare itself and has the MP4 made once more before the clip is given up.
    package func observation(of uid: ClipUID) -> Observation {
        var details: Details = [:]
        details[.mp4Status] = status.map { .string(DisplayText.bounded($0, lengthMax: 64)) }
        let percent = percentComplete.map { min(max($0, 0), 100) }
        details[.mp4PercentComplete] = percent.map(JSONValue.init(number:))
        if let url, StreamURL.isPlain(url, of: uid) { details[.mp4DownloadURL] = .string(url) }
        return switch state {
        case .inProgress: Observation(status: .mp4Processing, percent: percent, details: details)
        case .ready: Observation(status: .mp4Downloading, details: details)
        case .error: Observation(status: .waitForMP4, details: details)
        case nil: Observation(status: nil, details: details)
        }
    }
}

extension CloudflareState {
    /// As Cloudflare spells it.
    package var word: String {
        switch self {
        case .pendingUpload: "pendingupload"
        case .downloading: "downloading"
        case .queued: "queued"
        case .inProgress: "inprogress"
        case .ready: "ready"
        case .error: "error"
        case .liveInProgress: "live-inprogress"
        case .unknown(let word): DisplayText.bounded(word, lengthMax: 64)
        }
    }
}
