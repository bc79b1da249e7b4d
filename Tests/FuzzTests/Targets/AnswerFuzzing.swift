// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import OutboundHTTP

@testable import CloudflareStream

/// An answer of Cloudflare's is read, or it is an error that can be shown; what was read can be acted upon.
enum AnswerFuzzing {
    private static let now = Timestamp(seconds: 1_800_000_000)

    static func run(_ bytes: [UInt8]) throws(BrokenPromise) -> Bool {
        let answer = OutboundResponse(fuzzed: bytes)
        if let hint = answer.head.headers[.rateLimit].flatMap(RateLimitHint.parse) {
            try promise(hint.remaining >= 0 && hint.resetSeconds >= 0, "a hint of \(hint)")
        }
        var isTaken = false
        if let video = try read(StreamVideo.self, answer, .getVideo) {
            try check(video)
            isTaken = true
        }
        if let page = try read(StreamList<StreamVideo>.self, answer, .listVideos)?.elements {
            for video in page.compactMap(\.self) { try check(video) }
            isTaken = true
        }
        if let download = try read(StreamDownloads.self, answer, .getDownloads)?.video {
            try BodyFuzzing.checkPercent(download.observation(of: uid).percent)
            isTaken = true
        }
        // What a webhook holds is a video without anything around it.
        let bare = OutboundResponse(fuzzed: Array("{\"result\":".utf8) + answer.body + Array("}".utf8))
        if let video = try read(StreamVideo.self, bare, .getVideo) { try check(video) }
        return isTaken
    }

    /// An answer's result; nil for none and for an error.
    private static func read<Result: StreamResult>(
        _ type: Result.Type, _ answer: OutboundResponse, _ endpoint: StreamEndpoint
    ) throws(BrokenPromise) -> Result? {
        let failure: StreamError
        do throws(StreamError) {
            return try StreamClient.result(type, in: answer, endpoint: endpoint, now: now)
        } catch {
            failure = error
        }
        try promiseOneLine(failure.message, bytesMax: 2_048)
        try promise(failure.status == answer.status, "the error's status is \(failure.status ?? 0)")
        try promise(
            failure.retryAfter.map { (.zero...RetryAfter.longest).contains($0) } ?? true,
            "it is tried again after \(failure.retryAfter ?? .zero)")
        return nil
    }

    private static let uid = ClipUID("dd5d531a12de0c724bd1275a3b2bc9c6")!  // It is one.

    private static func check(_ video: StreamVideo) throws(BrokenPromise) {
        let observation = video.observation
        try BodyFuzzing.checkPercent(observation.percent)
        try BodyFuzzing.check(observation.details, of: video.uid)
        if let created = video.created {
            try promise(Timestamp(rfc3339: created.rfc3339) == created, "a time that is no time: \(created)")
        }
        try checkNextPoll(observation, of: video.uid)
    }

    /// The next inquiry is made neither at once nor never.
    private static func checkNextPoll(_ observation: Observation, of uid: ClipUID) throws(BrokenPromise) {
        let policy = LifecyclePolicy()
        let status = observation.status ?? .processing
        guard let action = status.action(requestsMP4: true), action.isPoll else { return }
        var work = Work(uid: uid, action: action, dueAt: now, stageEnteredAt: now)
        (work.percent, work.percentAt) = (0, Timestamp(seconds: now.seconds - 80_000))
        let request = ActionRequest(work: work, status: status, details: [:], epoch: 1)
        let plan = WorkPlanner(policy: policy, now: now, jitter: 0.5).plan(after: .observed(observation), of: request)
        guard let due = plan.work?.dueAt else { return }
        try promise(
            (policy.pollMin...policy.pollMax).contains(due - now), "the next inquiry is due after \(due - now)")
    }
}

extension OutboundResponse {
    /// A status, fields, an empty line and a body, as answers look on the wire; without these it is a body alone.
    init(fuzzed bytes: [UInt8]) {
        let lines = bytes.first == UInt8(ascii: "{") ? [] : Self.head(bytes)
        var headers = HTTPFields()
        for line in lines.dropFirst() {
            let pair = line.split(separator: ":", maxSplits: 1)
            guard pair.count == 2, let name = HTTPField.Name(String(pair[0])) else { continue }
            headers.append(HTTPField(name: name, value: String(pair[1].drop { $0 == " " })))
        }
        // Only what is within HTTP's three digits comes through the transport.
        let status = lines.first.flatMap { Int($0) }.flatMap { (200...999).contains($0) ? $0 : nil }
        let length = lines.reduce(0) { $0 + $1.utf8.count + 1 } + 1
        let body = lines.isEmpty ? bytes : Array(bytes.dropFirst(length))
        self.init(head: ResponseHead(status: status ?? 200, headers: headers), body: body)
    }

    /// Nothing where there is no empty line.
    private static func head(_ bytes: [UInt8]) -> [String] {
        let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
        guard let end = lines.firstIndex(where: \.isEmpty) else { return [] }
        return lines[..<end].compactMap { String(validating: $0, as: UTF8.self) }
    }
}
