// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
package import CloudflareStream
package import Logging
package import ObjectStorage
package import OutboundHTTP

/// Performs the actions: asks Cloudflare, has the MP4 made, moves it to R2.
package struct Pipeline: ActionPerformer {
    private let stream: StreamActions
    let transfers: TransferAction

    package init(
        stream: StreamClient, storage: S3Client, transport: any HTTPTransport, spool: Spool,
        settings: TransferSettings, clock: any WallClock = SystemWallClock(), logger: Logger
    ) {
        self.stream = StreamActions(client: stream)
        self.transfers = TransferAction(
            stream: stream,
            engine: TransferEngine(
                storage: storage, transport: transport, spool: spool, settings: settings, clock: clock))
    }

    package func perform(
        _ requests: [ActionRequest], reporter: any ActionReporter
    ) async -> [ClipUID: ActionOutcome] {
        guard let first = requests.first else { return [:] }
        switch first.action {
        case .checkVideo:
            return await stream.checkVideos(requests.map(\.uid))
        case .requestMP4, .checkMP4, .transfer:
            var outcomes: [ClipUID: ActionOutcome] = [:]
            for request in requests { outcomes[request.uid] = await perform(request, reporter: reporter) }
            return outcomes
        }
    }

    private func perform(_ request: ActionRequest, reporter: any ActionReporter) async -> ActionOutcome {
        let outcome: ActionOutcome =
            switch request.action {
            case .checkVideo: await stream.checkVideos([request.uid])[request.uid] ?? .abandoned
            case .requestMP4: await stream.requestMP4(request)
            case .checkMP4: await stream.checkMP4(request.uid)
            case .transfer: await transfers.perform(request, reporter: reporter)
            }
        // A call that our own stop cut off says nothing about the clip.
        if Task.isCancelled, case .failed = outcome { return .abandoned }
        return outcome
    }
}

extension Pipeline {
    /// Where one video is, asked outside of any lease.
    package func checkVideo(_ uid: ClipUID) async -> ActionOutcome {
        await stream.checkVideos([uid])[uid] ?? .abandoned
    }
}
