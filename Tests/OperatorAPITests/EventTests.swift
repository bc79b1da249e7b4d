// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import ClipStore
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOConcurrencyHelpers
import NIOCore
import ServiceLifecycle
import Testing

@testable import OperatorAPI

@Suite(.timeLimit(.minutes(1))) struct EventTests {
    // MARK: Over HTTP

    @Test func eventsArriveInOrderWithTheirNumbers() async throws {
        let world = World()
        try await world.register(uid(1), .uploading)
        let text = try await world.stream("/api/events") {
            try await world.register(uid(2), .uploading)
            try await world.register(uid(3), .queued)
            return 3
        }
        // What was there before is not told, but its number is where the stream begins.
        #expect(text.hasPrefix("retry: 2000\nid: 1\n\n"))
        let events = Event.all(in: text)
        #expect(events.map(\.id) == [2, 3])
        #expect(events.map(\.uid) == [uid(2), uid(3)].map(\.rawValue))
        #expect(events.allSatisfy { $0.name == "clip" })
    }

    @Test func eventIsTheClipOfTheList() async throws {
        let world = World()
        try await world.register(uid(1), .processing, ["meta": ["name": "two\nlines\r\nand \"more\""]])
        let text = try await world.stream("/api/events?last_event_id=0") { 1 }
        try await world.serve { client in
            let clip = try await client.get("/api/clips").array("clips").first
            #expect(Event.all(in: text).first?.clip == clip)
        }
    }

    @Test func answerIsAnEventStreamThatNobodyKeeps() async throws {
        try await World().serveEvents { world, client in
            async let answer = client.get("/api/events")
            await eventually { world.events.subscriberCount == 1 }
            world.events.close()
            let headers = try await answer.headers
            #expect(headers[.contentType] == "text/event-stream")
            #expect(headers[.cacheControl] == "no-store")
            #expect(headers[.xAccelBuffering] == "no")
        }
    }

    @Test(arguments: [true, false])
    func lastEventIDResumesWithNothingLost(inHeader: Bool) async throws {
        let world = World(eventLimits: EventLimits(queueMax: 256))
        for number in 1...200 { try await world.register(uid(number), .queued) }
        // One that changes again comes once, at its new place.
        try await world.register(uid(150), .processing)
        let text = try await world.stream(
            inHeader ? "/api/events" : "/api/events?last_event_id=100",
            headers: inHeader ? [.lastEventID: "100"] : [:]
        ) { 201 }
        #expect(Event.all(in: text).map(\.id) == Self.changes)
    }

    /// As after a backup was restored.
    @Test func lastEventIDThatIsStillToComeBeginsAnew() async throws {
        let world = World()
        for number in 1...3 { try await world.register(uid(number), .queued) }
        let text = try await world.stream("/api/events?last_event_id=99999999") { 3 }
        #expect(Event.all(in: text).map(\.id) == [1, 2, 3])
    }

    /// Of 200 clips, after the hundredth, when the 150th has changed again.
    private static let changes = Array(Int64(101)...201).filter { $0 != 150 }

    @Test func whatIsFarBackIsReadPageByPage() async throws {
        let world = World()
        for number in 1...200 { try await world.register(uid(number), .queued) }
        try await world.register(uid(150), .processing)
        try await world.serveEvents { world, _ in
            let recorder = Recorder()
            try await world.write(to: recorder, after: 100) {
                await eventually { Event.all(in: recorder.text).count >= Self.changes.count }
                #expect(Event.all(in: recorder.text).map(\.id) == Self.changes)
            }
        }
    }

    @Test func headerGoesBeforeTheQuery() async throws {
        let world = World()
        for number in 1...3 { try await world.register(uid(number), .queued) }
        let text = try await world.stream("/api/events?last_event_id=0", headers: [.lastEventID: "2"]) { 3 }
        #expect(Event.all(in: text).map(\.id) == [3])
    }

    @Test(arguments: ["-1", "1.5", "abc", "1,2", "0x10", "+3"])
    func wrongLastEventIDIs400(_ text: String) async throws {
        try await World().serve { client in
            client.expectProblem(try await client.get("/api/events", headers: [.lastEventID: text]), 400)
            let query = text.replacingOccurrences(of: "+", with: "%2B")
            client.expectProblem(try await client.get("/api/events?last_event_id=\(query)"), 400)
        }
    }

    @Test func otherMethodsAreRefused() async throws {
        try await World().serve { client in
            let head = try await client.send(.head, "/api/events")
            #expect(head.status == 405)
            client.expectProblem(try await client.post("/api/events"), 405)
        }
    }

    @Test func moreThanTheFeedServesIs503() async throws {
        let world = World(eventLimits: EventLimits(subscribersMax: 1))
        var first: EventSubscription? = try world.events.subscribe(after: 0)
        try await world.serve { client in
            let answer = try await client.get("/api/events")
            client.expectProblem(answer, 503)
            #expect(answer.headers.contains { $0.name.canonicalName == "retry-after" })
        }
        #expect(first?.start == 0)
        // Whoever lets go of a place frees it.
        first = nil
        #expect(world.events.subscriberCount == 0)
    }

    // MARK: The feed

    @Test func silenceIsBrokenByAComment() async throws {
        let world = World()
        try await world.serveEvents { world, _ in
            let recorder = Recorder()
            try await world.write(to: recorder) {
                await eventually { recorder.text == "retry: 2000\nid: 0\n\n" }
                await world.pass(seconds: 15)
                await eventually { recorder.text.hasSuffix("\n\n:\n\n") }
            }
        }
    }

    @Test func whatAnotherProcessChangesIsFoundWithinASecond() async throws {
        let world = World()
        try await world.serveEvents { world, _ in
            let recorder = Recorder()
            try await world.write(to: recorder) {
                await world.clock.waitForSleepers(1)
                try await world.register(uid(1), .queued)
                world.clock.advance(by: .seconds(1))
                await eventually { Event.all(in: recorder.text).map(\.id) == [1] }
            }
        }
    }

    @Test func nothingHappensWhileNobodyListens() async throws {
        let world = World()
        try await world.serveEvents { world, _ in
            world.events.wake()
            #expect(world.clock.sleepers == 0)
            let subscription = try world.events.subscribe(after: 0)
            await world.clock.waitForSleepers(1)
            subscription.end()
            world.clock.advance(by: .seconds(1))
            await eventually { world.clock.sleepers == 0 }
        }
    }

    @Test func slowSubscriberIsClosedAndTheOthersAreNot() async throws {
        let world = World(eventLimits: EventLimits(queueMax: 4, secondsFullMax: 3))
        try await world.serveEvents { world, _ in
            let slow = try world.events.subscribe(after: 0)
            let recorder = Recorder()
            try await world.write(to: recorder) {
                for number in 1...9 { try await world.register(uid(number), .queued) }
                world.events.wake()
                await eventually { Event.all(in: recorder.text).count == 9 }
                await world.pass(seconds: 3)
                await slow.ended()
                #expect(world.events.subscriberCount == 1)
                // It goes on from the last one that it got, and has lost none.
                #expect(slow.take().count == 4)
                let again = try world.events.subscribe(after: 4)
                await eventually { again.take().count == 4 }
                await eventually { again.take().count == 1 }
            }
        }
    }

    @Test func clientThatDoesNotReadIsCutOffSoonAfterTheEnd() async throws {
        let world = World()
        let stuck = Recorder(isStuck: true)
        let stream = EventStream(subscription: try world.events.subscribe(after: 0), clock: world.clock)
        let writing = Task { try await stream.write(to: HandedOverWriter(writer: stuck)) }
        await eventually { stuck.isWriting }
        world.events.close()
        await world.clock.waitForSleepers(1)
        world.clock.advance(by: .seconds(1))
        await #expect(throws: CancellationError.self) { try await writing.value }
    }

    @Test func shutdownEndsTheStream() async throws {
        let world = World()
        let group = ServiceGroup(
            configuration: .init(services: [.init(service: world.events)], logger: World.logger))
        let recorder = Recorder()
        let stream = EventStream(subscription: try world.events.subscribe(after: 0), clock: world.clock)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            tasks.addTask { try await stream.write(to: HandedOverWriter(writer: recorder)) }
            await world.clock.waitForSleepers(1)
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        #expect(recorder.isFinished)
        #expect(throws: Problem.self) { _ = try world.events.subscribe(after: 0) }
    }
}

/// One event as a client reads it.
private struct Event {
    var id: Int64
    var name: String
    var clip: JSONValue

    var uid: String { clip.objectValue?["uid"]?.stringValue ?? "" }

    static func all(in text: String) -> [Event] {
        text.components(separatedBy: "\n\n").compactMap { block in
            var fields: [String: String] = [:]
            for line in block.components(separatedBy: "\n") {
                let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                if parts.count == 2 { fields[String(parts[0])] = String(parts[1].dropFirst()) }
            }
            guard let id = fields["id"].flatMap({ Int64($0) }), let name = fields["event"], let data = fields["data"],
                let clip = try? JSONDecoder().decode(JSONValue.self, from: Data(data.utf8))
            else { return nil }
            return Event(id: id, name: name, clip: clip)
        }
    }
}

/// A client that remembers what it was sent, or one that takes nothing.
private struct Recorder: ResponseBodyWriter, Sendable {
    private struct State: Sendable {
        var text = ""
        var isWriting = false
        var isFinished = false
    }

    private let state = NIOLockedValueBox(State())
    private let gate = Gate()

    init(isStuck: Bool = false) {
        if !isStuck { gate.open() }
    }

    var text: String { state.withLockedValue { $0.text } }
    var isWriting: Bool { state.withLockedValue { $0.isWriting } }
    var isFinished: Bool { state.withLockedValue { $0.isFinished } }

    @concurrent func write(_ buffer: ByteBuffer) async throws {
        state.withLockedValue { $0.isWriting = true }
        await gate.wait()
        try Task.checkCancellation()
        state.withLockedValue { $0.text += String(buffer: buffer) }
    }

    @concurrent func finish(_ trailingHeaders: HTTPFields?) async throws {
        state.withLockedValue { $0.isFinished = true }
    }
}

extension World {
    /// Runs the feed beside the API.
    fileprivate func serveEvents(_ body: @Sendable @escaping (World, Client) async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await events.run() }
            defer { events.close() }
            try await serve { client in try await body(self, client) }
            events.close()
            try await group.waitForAll()
        }
    }

    /// Everything that a client of the route has got once it has the change of the number that `body` gives.
    fileprivate func stream(
        _ uri: String, headers: HTTPFields = [:], _ body: @Sendable @escaping () async throws -> Int64
    ) async throws -> String {
        let text = NIOLockedValueBox("")
        try await serveEvents { world, client in
            async let answer = client.get(uri, headers: headers)
            await eventually { world.events.subscriberCount == 1 }
            let last = try await body()
            // It came later and is served later: what it has, the route's client has as well, if that is not full.
            let probe = try world.events.subscribe(after: last - 1)
            await eventually { !probe.take().isEmpty }
            world.events.close()
            let got = try await answer.text
            text.withLockedValue { $0 = got }
        }
        return text.withLockedValue { $0 }
    }

    /// Has a client of the feed written to while `body` runs.
    fileprivate func write(
        to recorder: Recorder, after seq: Int64 = 0, while body: @Sendable @escaping () async throws -> Void
    ) async throws {
        let stream = EventStream(subscription: try events.subscribe(after: seq), clock: clock)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await stream.write(to: HandedOverWriter(writer: recorder)) }
            try await body()
            stream.subscription.end()
            try await group.waitForAll()
        }
    }

    /// Moves the clock second by second, and lets what it wakes run.
    fileprivate func pass(seconds: Int) async {
        for _ in 0..<seconds {
            await clock.waitForSleepers(1)
            clock.advance(by: .seconds(1))
        }
    }
}
