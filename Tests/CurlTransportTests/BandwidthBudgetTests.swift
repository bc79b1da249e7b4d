// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import CurlTransport

@Suite struct BandwidthBudgetTests {
    private let start = ContinuousClock.now

    @Test func budgetStartsWithItsBurst() {
        var budget = BandwidthBudget(bytesPerSecond: 1000, at: start)
        #expect(budget.isOpen)
        #expect(budget.opens(after: start) == .zero)
        budget.spend(99)
        #expect(budget.isOpen)
        budget.spend(1)
        #expect(!budget.isOpen)
    }

    @Test func debtIsWaitedOffAtTheRate() {
        var budget = BandwidthBudget(bytesPerSecond: 1000, at: start)
        budget.spend(600)
        let wait = budget.opens(after: start)
        #expect(abs(wait / .milliseconds(500) - 1) < 0.001)
        budget.fill(at: start + .milliseconds(499))
        #expect(!budget.isOpen)
        budget.fill(at: start + .milliseconds(501))
        #expect(budget.isOpen)
        #expect(budget.opens(after: start + .milliseconds(501)) == .zero)
    }

    @Test func idleTimeLeavesNoMoreThanTheBurst() {
        var budget = BandwidthBudget(bytesPerSecond: 1000, at: start)
        budget.fill(at: start + .seconds(3600))
        budget.spend(100)
        #expect(!budget.isOpen)
    }

    @Test func clockThatStandsStillOrGoesBackGivesNothing() {
        var budget = BandwidthBudget(bytesPerSecond: 1000, at: start)
        budget.spend(200)
        for _ in 0..<1000 { budget.fill(at: start) }
        budget.fill(at: start - .seconds(5))
        #expect(!budget.isOpen)
        budget.fill(at: start + .milliseconds(99))
        #expect(!budget.isOpen)
    }

    @Test(arguments: [1, 64_000, 50_000_000, UInt64.max], [1, 1024, 51_200_000])
    func theSumKeepsToTheRateWhateverIsMovedAtOnce(rate: UInt64, go: Int) {
        var budget = BandwidthBudget(bytesPerSecond: rate, at: start)
        var now = start
        var total = 0.0
        for _ in 0..<2000 {
            budget.fill(at: now)
            if budget.isOpen {
                budget.spend(go)
                total += Double(go)
            }
            now += max(budget.opens(after: now), .milliseconds(1))
        }
        let seconds = (now - start) / .seconds(1)
        let burst = Double(rate) * BandwidthBudget.burstSeconds
        #expect(total <= (Double(rate) * seconds + burst) * 1.000001 + Double(go))
    }

    @Test func gatesAreEachDirectionsOwn() throws {
        var configuration = CurlTransport.Configuration()
        configuration.downloadBytesPerSecondMax = 1000
        configuration.uploadBytesPerSecondMax = 0
        let limiter = BandwidthLimiter(try TransferSettings(configuration), at: start)
        #expect(limiter.limitsAnything)
        limiter.spendUpload(1_000_000_000)
        #expect(limiter.gates(at: start) == .init(isDownloadOpen: true, isUploadOpen: true))
        limiter.spendDownload(200)
        let shut = limiter.gates(at: start)
        #expect(shut == .init(isDownloadOpen: false, isUploadOpen: true))
        #expect(try #require(limiter.opens(shut, after: start)) > .milliseconds(99))
        // Gates that are still shut are to be looked after at once when there is credit again.
        #expect(limiter.opens(shut, after: start + .seconds(1)) == .zero)
        let open = limiter.gates(at: start + .seconds(1))
        #expect(open == .init())
        #expect(limiter.opens(open, after: start + .seconds(1)) == nil)
    }

    @Test func nothingIsLimitedByDefault() throws {
        let limiter = BandwidthLimiter(try TransferSettings(.init()), at: start)
        limiter.spendDownload(1_000_000_000)
        #expect(!limiter.limitsAnything)
        #expect(limiter.gates(at: start) == .init())
    }

    @Test(
        arguments: [
            (nil, 131_072, 131_072), (1, 1024, 1024), (64_000, 1024, 1024), (6_400_000, 2000, 100_000),
            (320_000_000, 100_000, 131_072), (UInt64.max, 131_072, 131_072),
        ] as [(UInt64?, Int, Int)])
    func buffersFollowTheCap(cap: UInt64?, download: Int, upload: Int) {
        #expect(TransferBuffers.download(isTLS: false, bytesPerSecondMax: cap) == download)
        #expect(TransferBuffers.download(isTLS: true, bytesPerSecondMax: cap) == min(download, 65_536))
        #expect(TransferBuffers.uploadFill(bytesPerSecondMax: cap) == upload)
    }
}
