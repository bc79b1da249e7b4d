// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Testing

@Suite struct ClipUpdateTests {
    private static let uid = ClipUID("dd5d531a12de0c724bd1275a3b2bc9c6")!
    private static let now = Timestamp(seconds: 1_800_000_000)

    private func machine(_ status: ClipStatus) -> ClipStateMachine {
        ClipStateMachine(
            position: .at(status), failedFrom: status == .error ? .r2Uploading : nil, progress: status.leastProgress)
    }

    private func update(
        _ status: ClipStatus, _ request: Signal.Request, details: Details = [:], percent: Double? = nil
    ) -> ClipUpdate {
        let signal = Signal(
            uid: Self.uid, source: .operator, request: request, details: details, percent: percent)
        return ClipUpdate(of: machine(status), by: signal, createsUnknown: true, at: Self.now)
    }

    @Test func appliedSignalStampsStatusMessageProgressAndTime() {
        let update = update(.queued, .status(.processing), details: ["thumbnail_url": "t"], percent: 50)
        #expect(update.decision == .applied(from: .queued, to: .processing))
        #expect(update.patch[.progress] == 55)
        #expect(update.patch[.statusMessage] == .string(ClipStatus.processing.message))
        #expect(update.patch[.lastUpdated] == .string(Self.now.rfc3339))
        #expect(update.patch[.thumbnailURL] == "t")
    }

    @Test func leavingAStatusTakesItsRetryAndLiveFiguresWithIt() {
        let patch = update(.mp4Downloading, .status(.r2Uploading)).patch
        for key in [
            DetailKey.attempt, .nextAttemptAt, .transferBytes, .transferTotalBytes, .transferBytesPerSecond,
            .transferSecondsLeft, .errorCode, .errorMessage, .errorTime, .failedFrom,
        ] {
            #expect(patch[key] == .null, "\(key.rawValue) stays")
        }
    }

    @Test func errorSaysWhenWhyAndFromWhere() {
        let patch = update(.r2Uploading, .status(.error), details: ["error_code": "x", "error_message": "why"]).patch
        #expect(patch[.errorCode] == "x")
        #expect(patch[.errorMessage] == "why")
        #expect(patch[.errorTime] == .string(Self.now.rfc3339))
        #expect(patch[.failedFrom] == "r2_uploading")
        #expect(patch[.statusMessage] == .string("\(ClipStatus.error.message): why"))
        #expect(patch[.progress] == 95)
    }

    @Test(arguments: [[:], ["error_message": .null], ["error_message": 3, "error_code": []]] as [Details])
    func errorWithoutAReasonSaysSo(_ details: Details) {
        let patch = update(.queued, .status(.error), details: details).patch
        #expect(patch[.errorCode] == "unspecified")
        #expect(patch[.errorMessage] == "no reason was given")
    }

    @Test func retryClearsTheError() {
        let update = update(.error, .retry)
        #expect(update.decision == .applied(from: .error, to: .r2Uploading))
        #expect(update.patch[.errorCode] == .null)
        #expect(update.patch[.failedFrom] == .null)
    }

    @Test func mergedSignalTakesDetailsAndKeepsThePendingRetry() {
        let patch = update(.r2Uploading, .status(.r2Uploading), details: ["mine": 1]).patch
        #expect(patch["mine"] == 1)
        #expect(patch[.attempt] == nil)
        #expect(patch[.errorCode] == nil)
    }

    @Test func rejectedSignalPatchesNothing() {
        let update = update(.complete, .status(.queued), details: ["mine": 1])
        #expect(update.decision == .rejected(.backward))
        #expect(update.patch == [:])
        #expect(update.machine == machine(.complete))
    }

    @Test(arguments: [
        "progress", "failed_from", "last_updated", "status_message", "error_time", "requested_status",
        "status_request_time",
    ])
    func whatOnlyTheBridgeWritesCanNotBeOffered(_ key: String) {
        let offered: Details = [key: "forged"]
        #expect(update(.queued, .status(.queued), details: offered).patch[key] != "forged")
        #expect(update(.queued, .status(.processing), details: offered).patch[key] != "forged")
        let note = ClipUpdate(of: machine(.queued), percent: nil, details: offered, at: Self.now)
        #expect(note.patch[key] != "forged")
    }

    @Test func percentageMovesProgressAndNeverDown() {
        let forward = ClipUpdate(of: machine(.mp4Downloading), percent: 50, details: [:], at: Self.now)
        #expect(forward.decision == .merged(.mp4Downloading))
        #expect(forward.patch[.progress] == 90)
        let back = ClipUpdate(of: forward.machine, percent: 10, details: [:], at: Self.now)
        #expect(back.patch[.progress] == 90)
    }

    @Test func percentageOfAClipThatIsNotOursChangesNothing() {
        let foreign = ClipStateMachine(position: .foreign)
        let update = ClipUpdate(of: foreign, percent: 50, details: ["mine": 1], at: Self.now)
        #expect(update.decision == .rejected(.unknownStatus))
        #expect(update.patch == [:])
    }
}
