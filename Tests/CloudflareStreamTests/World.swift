// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import Logging
import MetricsTestKit
import NIOConcurrencyHelpers
import OutboundHTTP

@testable import CloudflareStream

/// Answers requests by a script and keeps them.
final class ScriptedTransport: HTTPTransport {
    struct State {
        var answers: [Result<OutboundResponse, TransferError>]
        var requests: [OutboundRequest] = []
    }

    let state: NIOLockedValueBox<State>

    init(_ answers: [Result<OutboundResponse, TransferError>]) {
        state = NIOLockedValueBox(State(answers: answers))
    }

    var requests: [OutboundRequest] { state.withLockedValue { $0.requests } }

    func send(_ request: OutboundRequest) async throws(TransferError) -> OutboundResponse {
        let answer = state.withLockedValue { state -> Result<OutboundResponse, TransferError> in
            state.requests.append(request)
            let unscripted = TransferError(code: .stopped, message: "the script is at its end")
            return state.answers.isEmpty ? .failure(unscripted) : state.answers.removeFirst()
        }
        return try answer.get()
    }
}

/// A clock that stands still but for `advance` and for those who sleep, whom it takes to the time they want.
final class SleepingClock: WallClock {
    private let time: NIOLockedValueBox<Timestamp>

    init(_ start: Timestamp = Timestamp(seconds: 1_800_000_000)) {
        time = NIOLockedValueBox(start)
    }

    func now() -> Timestamp { time.withLockedValue { $0 } }
    func advance(_ duration: Duration) { time.withLockedValue { $0 = $0 + duration } }
    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        advance(duration)
    }
}

extension Result<OutboundResponse, TransferError> {
    static func json(_ status: Int = 200, _ text: String, _ headers: HTTPFields = [:]) -> Self {
        var headers = headers
        headers[.contentType] = "application/json; charset=UTF-8"
        return .success(OutboundResponse(head: ResponseHead(status: status, headers: headers), body: Array(text.utf8)))
    }

    static func html(_ status: Int, _ headers: HTTPFields = [:]) -> Self {
        var headers = headers
        headers[.contentType] = "text/html; charset=UTF-8"
        return .success(
            OutboundResponse(
                head: ResponseHead(status: status, headers: headers),
                body: Array("<html>error</html>".utf8)
            )
        )
    }

    static func result(_ text: String) -> Self {
        .json(200, #"{"success":true,"errors":[],"messages":[],"result":\#(text)}"#)
    }

    static func failure(_ status: Int, code: Int, _ message: String, _ headers: HTTPFields = [:]) -> Self {
        .json(
            status,
            #"{"success":false,"errors":[{"code":\#(code),"message":"\#(message)"}],"messages":[],"result":null}"#,
            headers
        )
    }
}

/// A client of its own for each test.
struct World {
    let transport: ScriptedTransport
    let clock = SleepingClock()
    let metrics = TestMetrics()
    let budget: RateBudget
    let client: StreamClient

    init(_ answers: Result<OutboundResponse, TransferError>..., limits: RateBudgetMachine.Limits = .cloudflare) {
        transport = ScriptedTransport(answers)
        budget = RateBudget(limits: limits, clock: clock, metrics: metrics)
        client = StreamClient(
            transport: transport,
            baseURL: "https://api.example.com/client/v4/",
            accountID: "acc/ount",
            token: "secret-token",
            budget: budget,
            clock: clock,
            logger: Logger(label: "test"),
            metrics: metrics
        )
    }

    func error(_ call: (StreamClient) async throws(StreamError) -> Void) async -> StreamError? {
        do throws(StreamError) {
            try await call(client)
            return nil
        } catch {
            return error
        }
    }
}

let uid = ClipUID("3f2a9c71e5b84d06a1c7d2e98b40f516")!
