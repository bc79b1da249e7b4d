// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import HTTPTypes
import NIOConcurrencyHelpers
import Testing

@Suite struct CloudflareRouteTests {
    private static let enable = "/api/cloudflare/enable-mp4"
    private static let upload = "/api/cloudflare/upload-to-r2"

    private func body(_ uid: ClipUID) -> JSONValue { ["videoUid": .string(uid.rawValue)] }

    @Test(arguments: [
        (ClipStatus.uploading, 409, 409), (.queued, 409, 409), (.processing, 409, 409), (.streamReady, 202, 409),
        (.waitForMP4, 200, 202), (.mp4Processing, 200, 202), (.mp4Downloading, 200, 202), (.r2Uploading, 200, 202),
        (.complete, 200, 200), (.error, 409, 409),
    ])
    func everyStatusHasItsAnswer(_ status: ClipStatus, _ enable: Int, _ upload: Int) async throws {
        for (path, expected) in [(Self.enable, enable), (Self.upload, upload)] {
            let world = World()
            if status == .error {
                try await world.fail(uid(1), from: .r2Uploading)
            } else {
                try await world.register(uid(1), status)
            }
            try await world.serve { client in
                let answer = try await client.post(path, body(uid(1)))
                if expected >= 400 {
                    client.expectProblem(answer, expected)
                } else {
                    #expect(answer.status == expected, "\(path) in \(status)")
                    #expect(answer["status"] == .string(status.rawValue))
                    #expect(answer["videoUid"] == .string(uid(1).rawValue))
                    #expect(answer["message"]?.stringValue?.isEmpty == false)
                }
            }
        }
    }

    @Test(arguments: [enable, upload])
    func clipInErrorPointsAtRetry(_ path: String) async throws {
        let world = World()
        try await world.fail(uid(1), from: .waitForMP4)
        try await world.serve { client in
            let detail = client.expectProblem(try await client.post(path, body(uid(1))), 409)
            #expect(detail.contains("POST /api/clips/\(uid(1))/retry"))
        }
        #expect(world.questions.withLockedValue { $0 } == 0)
    }

    @Test(arguments: [enable, upload])
    func missingUIDIs400AndUnknownClip404(_ path: String) async throws {
        try await World().serve { client in
            for body: JSONValue in [[:], ["videoUid": nil], ["videoUid": 3], ["videoUid": "a b"], ["videoUid": ""]] {
                client.expectProblem(try await client.post(path, body), 400)
            }
            client.expectProblem(try await client.send(.post, path), 400)
            client.expectProblem(try await client.post(path, body(uid(1))), 404)
        }
    }

    @Test(arguments: [enable, upload])
    func rowWithAForeignStatusIs409(_ path: String) async throws {
        let world = World()
        world.store.insertForeignRow(uid: uid(1).rawValue, status: "archived")
        try await world.serve { client in
            client.expectProblem(try await client.post(path, body(uid(1))), 409)
        }
    }

    // MARK: enable-mp4

    @Test(arguments: [true, false])
    func mp4IsAskedForAtOnce(_ isAutomatic: Bool) async throws {
        let world = World(policy: LifecyclePolicy(requestsMP4: isAutomatic))
        try await world.register(uid(1), .streamReady)
        try await world.serve { client in
            let answer = try await client.post(Self.enable, body(uid(1)))
            #expect(answer.status == 202)
        }
        let work = try #require(try await world.work(uid(1)))
        #expect(work.action == .requestMP4)
        #expect(work.dueAt == world.clock.now())
        #expect(world.wakes.withLockedValue { $0 } == 1)
        #expect(world.questions.withLockedValue { $0 } == 0)
    }

    @Test(arguments: [ClipStatus.uploading, .queued, .processing])
    func readyVideoWhoseWebhookIsLateIsEnabledAllTheSame(_ status: ClipStatus) async throws {
        let world = World()
        try await world.register(uid(1), status)
        world.video.withLockedValue { $0 = .observed(Observation(status: .streamReady)) }
        try await world.serve { client in
            let answer = try await client.post(Self.enable, body(uid(1)))
            #expect(answer.status == 202)
            #expect(answer["status"] == "stream_ready")
            let history = try await client.get("/api/clips/\(uid(1))").array("history")
            #expect(history.last?.objectValue?["source"] == "poll")
        }
        #expect(world.questions.withLockedValue { $0 } == 1)
        #expect(try await world.work(uid(1))?.action == .requestMP4)
    }

    @Test func videoThatIsNotReadyThereEitherIs409WithCloudflaresWord() async throws {
        let world = World()
        try await world.register(uid(1), .queued)
        world.video.withLockedValue {
            $0 = .observed(Observation(status: .processing, details: ["cloudflare_status": "inprogress"]))
        }
        try await world.serve { client in
            let detail = client.expectProblem(try await client.post(Self.enable, body(uid(1))), 409)
            #expect(detail.contains("\"inprogress\""))
        }
        #expect(world.questions.withLockedValue { $0 } == 1)
    }

    @Test func videoThatFailedThereIs409AndTheClipInError() async throws {
        let world = World()
        try await world.register(uid(1), .processing)
        world.video.withLockedValue { $0 = .observed(Observation(status: .error)) }
        try await world.serve { client in
            client.expectProblem(try await client.post(Self.enable, body(uid(1))), 409)
            #expect(try await client.get("/api/clips/\(uid(1))")["status"] == "error")
        }
    }

    @Test func videoThatIsGoneIs409AndOneThatCanNotBeAskedFor502() async throws {
        let world = World()
        try await world.register(uid(1), .processing)
        try await world.serve { client in
            world.video.withLockedValue {
                $0 = .failed(
                    ActionFailure(code: "video_missing", message: "Cloudflare has no video", isRetryable: false))
            }
            client.expectProblem(try await client.post(Self.enable, body(uid(1))), 409)
            world.video.withLockedValue {
                $0 = .failed(ActionFailure(code: "api", message: "Cloudflare answered 503", isRetryable: true))
            }
            let answer = try await client.post(Self.enable, body(uid(1)))
            client.expectProblem(answer, 502)
            world.video.withLockedValue { $0 = .abandoned }
            client.expectProblem(try await client.post(Self.enable, body(uid(1))), 503)
        }
        #expect(try await world.store.read { $0.clip(uid(1)) }?.status == .processing)
    }

    // MARK: upload-to-r2

    @Test func waitingWorkIsMadeDue() async throws {
        let world = World()
        try await world.register(uid(1), .waitForMP4)
        try await world.register(uid(2), .mp4Downloading)
        for number in [1, 2] {
            var work = try #require(try await world.work(uid(number)))
            work.dueAt = work.dueAt + .seconds(60)
            let later = work
            try await world.store.write { $0.putWork(later) }
        }
        try await world.serve { client in
            for number in [1, 2] {
                let answer = try await client.post(Self.upload, body(uid(number)))
                #expect(answer.status == 202)
            }
        }
        #expect(try await world.work(uid(1))?.dueAt == world.clock.now())
        #expect(try await world.work(uid(2))?.dueAt == world.clock.now())
        #expect(world.wakes.withLockedValue { $0 } == 2)
    }

    @Test func runningTransferIs409() async throws {
        let world = World()
        try await world.register(uid(1), .r2Uploading)
        try await world.lease(uid(1))
        try await world.serve { client in
            client.expectProblem(try await client.post(Self.upload, body(uid(1))), 409)
        }
    }

    @Test func finishedClipNamesItsObject() async throws {
        let world = World()
        try await world.register(
            uid(1), .complete, ["r2_public_url": "https://x/a.mp4", "r2_key": "a.mp4", "r2_size": 12])
        try await world.register(uid(2), .complete)
        try await world.serve { client in
            let answer = try await client.post(Self.upload, body(uid(1)))
            #expect(answer["publicUrl"] == "https://x/a.mp4")
            #expect(answer["key"] == "a.mp4")
            #expect(answer["size"] == 12)
            #expect(try await client.post(Self.upload, body(uid(2)))["publicUrl"] == .null)
        }
    }
}
