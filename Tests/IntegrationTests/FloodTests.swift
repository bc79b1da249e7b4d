// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// `deploy/flood.sh` in small: every attack for a moment, and good deliveries that all have to come through.
@Suite(.timeLimit(.minutes(5))) struct FloodTests {
    @Test func goodDeliveriesComeThroughEveryFlood() async throws {
        try await World.run(on: .sqlite) { world in
            let script = Project.root.appending(path: "deploy/flood.sh").path()
            // Other tests run beside this one: what is late is for the script itself to find out.
            let run = try await world.run(
                ["--seconds", "2", "--scale", "0.05", "--latency-max", "30"],
                ["CLIPBRIDGE_BIN": World.executable.path()], of: script, within: .seconds(240))
            #expect(run.status == 0, "\(run.output)\(run.error)")
            #expect(run.lines.filter { $0.hasPrefix("| ") }.count == 13, "\(run.output)")
        }
    }
}
