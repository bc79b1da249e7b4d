// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import Testing

@Suite struct TimestampTests {
    @Test func everyMillisecondIsWrittenAsItIs() {
        for number in 0..<2_000 {
            let time = Timestamp(milliseconds: 1_800_000_000_000 + Int64(number) * 7_919 % 1_000_003)
            let fraction = String(time.milliseconds % 1_000)
            let padded = String(repeating: "0", count: 3 - fraction.count) + fraction
            #expect(time.rfc3339.hasSuffix(".\(padded)Z"))
            #expect(Timestamp(rfc3339: time.rfc3339) == time)
        }
    }
}
