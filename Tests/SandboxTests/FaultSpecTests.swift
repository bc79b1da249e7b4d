// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Sandbox

@Suite struct FaultSpecTests {
    @Test(arguments: [
        ("route=api,status=503", FaultSpec(route: .api, kind: .status(503, retryAfter: nil))),
        ("route=list,kind=status", FaultSpec(route: .list, kind: .status(503, retryAfter: nil))),
        ("route=get,kind=429", FaultSpec(route: .get, kind: .status(429, retryAfter: 1))),
        (
            "route=s3,status=429,retry-after=5,count=2",
            FaultSpec(route: .s3, kind: .status(429, retryAfter: 5), count: 2)
        ),
        ("route=copy,latency=250", FaultSpec(route: .copy, kind: .latency(.milliseconds(250)))),
        ("kind=latency,latency=1.5s,route=put", FaultSpec(route: .put, kind: .latency(.milliseconds(1500)))),
        ("route=mp4,kind=reset,rate=0.1,after=1MiB", FaultSpec(route: .mp4, kind: .reset(after: 1 << 20), rate: 0.1)),
        (
            "route=getobject,kind=truncate,after=10k,skip=3",
            FaultSpec(route: .getObject, kind: .truncate(after: 10_000), skip: 3)
        ),
        ("route=part,kind=stall", FaultSpec(route: .part, kind: .stall(after: 0))),
        ("route=complete,kind=drop", FaultSpec(route: .complete, kind: .drop)),
        ("route=webhook,kind=duplicate,rate=1", FaultSpec(route: .webhook, kind: .duplicate)),
        ("route=public,status=404", FaultSpec(route: .publicBucket, kind: .status(404, retryAfter: nil))),
    ])
    func aSpecIsRead(_ text: String, _ spec: FaultSpec) throws {
        #expect(try FaultSpec(parsing: text) == spec)
    }

    @Test(arguments: [
        ("kind=reset", "\"route\" is missing"),
        ("route=api", "\"kind\" is missing"),
        ("route=moon,kind=reset", "unknown route \"moon\""),
        ("route=api,kind=explode", "unknown kind \"explode\""),
        ("route=api,kind=reset,rate=2", "rate \"2\" is no number from 0 to 1"),
        ("route=api,kind=reset,rate=nan", "rate \"nan\""),
        ("route=api,kind=reset,count=0", "count \"0\" is no whole number from 1 on"),
        ("route=api,kind=reset,skip=-1", "skip \"-1\""),
        ("route=api,kind=reset,after=much", "after \"much\" is no size"),
        ("route=api,status=200", "status \"200\" is not from 400 to 599"),
        ("route=api,status=503,retry-after=x", "retry-after \"x\""),
        ("route=api,latency=soon", "latency \"soon\" is no duration"),
        ("route=api,latency=-5", "latency \"-5\" is no duration"),
        ("route=api,kind=drop,after=1", "\"after\" means nothing for this kind"),
        ("route=api,kind=duplicate", "only a webhook can be sent twice"),
        ("route=webhook,kind=reset", "a webhook takes latency, drop and duplicate only"),
        ("route=api,route=s3,kind=drop", "\"route\" is given twice"),
        ("route=api,size=3", "unknown key \"size\""),
        ("route=api,kind=", "\"kind=\" is not of the form key=value"),
        ("", "\"\" is not of the form key=value"),
    ])
    func aWrongSpecSaysWhatIsWrong(_ text: String, _ reason: String) {
        let error = #expect(throws: FaultSpec.ParseError.self) { try FaultSpec(parsing: text) }
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
        #expect(error?.description.hasPrefix("fault \"\(text)\": ") == true)
    }
}

@Suite struct FaultPlanTests {
    private func strikes(_ spec: FaultSpec, seed: UInt64, requests: Int = 1000) -> [Bool] {
        let plan = FaultPlan([spec], seed: seed)
        return (0..<requests).map { _ in plan.strike(on: [spec.route]).kind != nil }
    }

    @Test func theSameSeedStrikesTheSameRequests() {
        let spec = FaultSpec(route: .mp4, kind: .drop, rate: 0.3)
        #expect(strikes(spec, seed: 7) == strikes(spec, seed: 7))
        #expect(strikes(spec, seed: 7) != strikes(spec, seed: 8))
    }

    @Test func aboutTheRateIsStruck() {
        let count = strikes(FaultSpec(route: .mp4, kind: .drop, rate: 0.3), seed: 1).count { $0 }
        #expect((250...350).contains(count))
        #expect(strikes(FaultSpec(route: .mp4, kind: .drop, rate: 0), seed: 1).allSatisfy { !$0 })
    }

    @Test func countAndSkipBoundTheStrikes() {
        let spec = FaultSpec(route: .mp4, kind: .drop, count: 2, skip: 1)
        #expect(strikes(spec, seed: 1, requests: 5) == [false, true, true, false, false])
    }

    @Test func onlyItsRouteIsStruck() {
        let plan = FaultPlan([FaultSpec(route: .put, kind: .drop)], seed: 1)
        #expect(plan.strike(on: [.s3, .part]).kind == nil)
        #expect(plan.strike(on: [.s3, .put]).kind == .drop)
    }

    @Test func latenciesAddUpAndGoWithAnotherKind() {
        let plan = FaultPlan(
            [
                FaultSpec(route: .s3, kind: .latency(.seconds(1))), FaultSpec(route: .put, kind: .latency(.seconds(2))),
                FaultSpec(route: .put, kind: .drop), FaultSpec(route: .put, kind: .status(500, retryAfter: nil)),
            ], seed: 1)
        #expect(plan.strike(on: [.s3, .put]) == FaultStrike(latency: .seconds(3), kind: .drop))
    }
}
