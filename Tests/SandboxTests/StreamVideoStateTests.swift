// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Testing

@testable import Sandbox

@Suite struct StreamVideoStateTests {
    private let start = Timestamp(seconds: 1000)
    private let stages = StageDurations(
        download: .seconds(1), queue: .seconds(2), encode: .seconds(100), mp4: .seconds(10))

    private func video(_ meta: [String: JSONValue] = [:], arrived: Bool = true) -> StreamVideo {
        var video = StreamVideo(uid: "u", origin: .copy(url: "sample:1"), created: start, edited: start)
        video.meta = meta
        if arrived { video.arrival = .arrived(at: start + .seconds(1), size: 1, etag: "e") }
        return video
    }

    private func state(_ video: StreamVideo, after seconds: Double) -> StreamVideoState {
        StreamVideoState(video, at: start + .seconds(seconds), stages: stages)
    }

    @Test func aVideoMovesOnWithTime() {
        let video = video()
        #expect(state(video, after: 0).phase == .downloading)
        #expect(state(video, after: 1).phase == .queued)
        #expect(state(video, after: 3).phase == .inProgress(percent: 0))
        #expect(state(video, after: 48).phase == .inProgress(percent: 45))
        #expect(state(video, after: 103).phase == .ready)
        #expect(state(video, after: 1e6).since == start + .seconds(103))
        #expect(StreamVideoState.end(of: video, stages: stages) == start + .seconds(103))
    }

    @Test func anAwaitedFileHasNoEnd() {
        let video = video(arrived: false)
        #expect(state(video, after: 1e6).phase == .downloading)
        #expect(StreamVideoState.end(of: video, stages: stages) == nil)
        let upload = StreamVideo(uid: "u", origin: .directUpload(key: "k"), created: start, edited: start)
        #expect(state(upload, after: 5).phase == .pendingUpload)
    }

    @Test func aFailureComesOnTheWay() {
        let video = video(["sandbox_error": "ERR_MALFORMED_VIDEO"])
        #expect(state(video, after: 41).phase == .inProgress(percent: 38))
        #expect(state(video, after: 43).phase == .error(code: "ERR_MALFORMED_VIDEO", percent: 39))
        #expect(StreamVideoState.end(of: video, stages: stages) == start + .seconds(42))
        var unfetched = self.video(arrived: false)
        unfetched.arrival = .failed(at: start, code: "ERR_FETCH_ORIGIN_ERROR")
        #expect(state(unfetched, after: 0).phase == .error(code: "ERR_FETCH_ORIGIN_ERROR", percent: nil))
    }

    @Test(
        arguments: [
            (nil, 1, 5, .inProgress(percent: 50)), (nil, 1, 10, .ready), ("never", 1, 1000, .inProgress(percent: 99)),
            ("error", 3, 10, .error), ("error_once", 1, 5, .inProgress(percent: 50)), ("error_once", 1, 10, .error),
            ("error_once", 2, 10, .ready),
        ] as [(String?, Int, Double, StreamVideoState.MP4)])
    func anMP4IsMadeAsTold(_ word: String?, _ attempt: Int, _ seconds: Double, _ mp4: StreamVideoState.MP4) {
        var video = video(word.map { ["sandbox_mp4": .string($0)] } ?? [:])
        #expect(state(video, after: 200).mp4 == .none)
        video.mp4 = .init(requested: start + .seconds(200), attempt: attempt)
        #expect(state(video, after: 200 + seconds).mp4 == mp4)
    }

    @Test(arguments: [(0, "0.000000"), (45, "45.000000"), (33.3333333, "33.333333"), (100, "100.000000")])
    func percentagesHaveSixPlaces(_ value: Double, _ text: String) {
        #expect(StreamVideoJSON.percent(value) == text)
    }
}
