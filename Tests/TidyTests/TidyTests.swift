// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Rules of the house that no compiler checks.
@Suite struct TidyTests {
    private func expectNone(_ findings: [ProjectText.Finding], sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(
            findings.isEmpty, "\(findings.map(\.description).joined(separator: "\n"))", sourceLocation: sourceLocation)
    }

    @Test func filesAreFoundAtAll() {
        #expect(ProjectText.sources.files.count > 100)
        #expect(ProjectText.tests.files.count > 50)
        #expect(ProjectText.all.files.contains { $0.path == "deploy/test.sh" })
    }

    @Test func onlyTheTransportCallsLibcurl() {
        expectNone(
            ProjectText.sources.filter { !$0.hasPrefix("Sources/CurlTransport/") }.mentions(of: ["import CCurl"]))
    }

    @Test func onlyTheSQLiteStoreKnowsGRDB() {
        expectNone(
            ProjectText.sources.filter { !$0.hasPrefix("Sources/SQLiteClipStore/") }.mentions(of: ["import GRDB"]))
    }

    @Test func nothingIsPrinted() {
        expectNone(
            ProjectText.sources.findings { file, index in
                file.lines[index].contains("rint(") && file.lines[index].contains(/\b(print|debugPrint)\(/)
            })
    }

    @Test func testsWaitForConditionsAndNotForTime() {
        let sleeps = ["Task" + ".sleep", "Thread" + ".sleep", "usleep" + "("]
        expectNone(ProjectText.tests.mentions(of: sleeps))
    }

    @Test func whatTheCompilerDoesNotCheckSaysWhyItIsSafe() {
        let escapes = ["@unchecked " + "Sendable", "nonisolated" + "(unsafe)", "try" + "! ", " as" + "! "]
        expectNone(
            ProjectText.swift.findings { file, index in
                guard escapes.contains(where: { file.lines[index].contains($0) }) else { return false }
                let near = [index - 1, index, index + 1].filter(file.lines.indices.contains)
                return !near.contains { file.lines[$0].contains("//") }
            })
    }

    @Test func nothingIsLeftForLater() {
        let words = ["TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK:"]
        expectNone(ProjectText.all.mentions(of: words))
        #expect(ProjectText.all.files.filter { $0.path.contains("Place" + "holder") }.map(\.path).isEmpty)
    }

    @Test func noPathOfOneMachineIsWrittenDown() {
        let folders = ["work", "root", "home"].map { "/\($0)/" }
        expectNone(
            ProjectText.all.findings { file, index in
                let line = file.lines[index]
                return folders.contains { folder in
                    // A relative path or a URL's may hold such a name.
                    line.ranges(of: folder).contains { range in
                        range.lowerBound == line.startIndex
                            || !Self.isPathCharacter(line[line.index(before: range.lowerBound)])
                    }
                }
            })
    }

    private static func isPathCharacter(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || "._-~)}*".contains(character)
    }

    @Test func filesBeginWithNameAndLicence() {
        let commented = ProjectText.all.filter { path in
            [".swift", ".h", ".sh", ".py", ".ci/run"].contains { path.hasSuffix($0) }
        }
        #expect(commented.files.count > 150)
        let wrong = commented.files.filter { file in
            let isFirstSpecial = file.lines.first.map { $0.hasPrefix("#!") || $0.hasPrefix("// swift-tools-version") }
            let head = file.lines.dropFirst(isFirstSpecial == true ? 1 : 0).prefix(2).map(String.init)
            return head != ["// clipbridge", "// SPDX-License-Identifier: Apache-2.0"]
                && head != ["# clipbridge", "# SPDX-License-Identifier: Apache-2.0"]
        }
        #expect(wrong.map(\.path).isEmpty)
    }

    @Test func linesFitTheirColumns() {
        expectNone(ProjectText.sources.findings { file, index in file.lines[index].count > 120 })
    }

    @Test func everyFolderIsATarget() throws {
        let package = try ProjectText.text("Package.swift")
        let targets = Set(package.matches(of: /(?:arget|Library)\(\s*name: "(\w+)"/).map { String($0.output.1) })
        #expect(try Set(ProjectText.names(in: "Sources") + ProjectText.names(in: "Tests")) == targets)
    }

    @Test func everyFixtureHasItsOriginWrittenDown() throws {
        let root = try ProjectText.text("fixtures/README.md")
        for path in ProjectText.paths("fixtures") where !path.hasSuffix("README.md") {
            let parts = path.split(separator: "/").map(String.init)
            let folder = "fixtures/\(parts[1])/README.md"
            let own = parts.count > 2 ? try? ProjectText.text(folder) : nil
            #expect((own ?? root).contains(parts[parts.count - 1]), "\(path) is in no README.md")
        }
    }

    @Test func everySettingIsInTheReadme() throws {
        let readme = try ProjectText.text("README.md")
        let definitions = try ProjectText.text("Sources/clipbridge/Settings/SettingDefinition.swift")
        let names = definitions.matches(of: /case \w+ = "([A-Z0-9_]+)"/).map { String($0.output.1) }
        #expect(names.count > 30)
        #expect(names.filter { !readme.contains("`\($0)`") } == [])
    }

    @Test func everyStatusIsInTheReadme() throws {
        let readme = try ProjectText.text("README.md")
        let statuses = try ProjectText.text("Sources/ClipLifecycle/ClipStatus.swift")
        let members = statuses.prefix { $0 != "}" }.matches(of: /case (\w+)(?: = "(\w+)")?\n/)
        let words = members.map { String($0.output.2 ?? $0.output.1) }
        #expect(words.count == 10)
        #expect(words.filter { !readme.contains("`\($0)`") } == [])
    }

    /// What stands in the README's table, with what a histogram and Prometheus add to the names.
    private static func metricsInTheReadme() throws -> Set<String> {
        let rows = try ProjectText.text("README.md").matches(of: /\n\| (`(?:clipbridge|process)_[^|]*) \| ([^|]*) \|/)
        let names = rows.flatMap { row in
            row.output.1.matches(of: /`([a-z_]+)/).flatMap { name in
                let name = String(name.output.1)
                return row.output.2.hasPrefix("histogram") ? ["_bucket", "_sum", "_count"].map { name + $0 } : [name]
            }
        }
        return Set(names)
    }

    @Test func alertsAndDashboardSpeakOfMetricsThatThereAre() throws {
        let known = try Self.metricsInTheReadme()
        #expect(known.count > 25)
        for path in ["deploy/grafana/alerts.yaml", "deploy/grafana/alerts.test.yaml", "deploy/grafana/dashboard.json"] {
            let used = Set(
                try ProjectText.text(path).matches(of: /\b((?:clipbridge|process)_[a-z0-9_]+)\b/)
                    .map { String($0.output.1) })
            #expect(used.count > 8)
            #expect(used.subtracting(known) == [], "\(path)")
        }
    }

    @Test func everyCountedMetricIsInTheReadme() throws {
        let families = try ["CountedMetrics", "MetricsPage", "ProcessMetrics"].map {
            try ProjectText.text("Sources/OperatorAPI/Metrics/\($0).swift")
        }
        let names = families.flatMap {
            $0.matches(of: /"((?:clipbridge|process)_[a-z_]+)"/).map { String($0.output.1) }
        }
        let readme = try ProjectText.text("README.md")
        #expect(names.count > 20)
        #expect(names.filter { !readme.contains("`\($0)") } == [])
    }

    @Test func everyAlertIsShownFiringAndSilent() throws {
        let alerts = try ProjectText.text("deploy/grafana/alerts.yaml").matches(of: /- alert: (\w+)/)
        let tests = try ProjectText.text("deploy/grafana/alerts.test.yaml").split(separator: "  - name: ")
        #expect(alerts.count > 10)
        for alert in alerts.map({ String($0.output.1) }) {
            let own = tests.filter { $0.contains("alertname=\"\(alert)\", alertstate=\"firing\"") }
            #expect(own.contains { $0.contains("value: 1") }, "\(alert)")
            #expect(own.contains { $0.contains("exp_samples: []") }, "\(alert)")
        }
    }
}
