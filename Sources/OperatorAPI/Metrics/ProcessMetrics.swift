// clipbridge
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The process' own figures under the names that Prometheus' clients give them, read from where Linux shows them.
enum ProcessMetrics {
    /// Of the times in `stat`, on every architecture.
    private static let ticksPerSecond = 100.0
    /// Stays what it was: the machine's own start, from which it is counted, moves when its clock is set.
    private static let startTime = startSeconds()

    static func read() -> [MetricFamily] {
        [
            MetricFamily(
                "process_cpu_seconds_total", .counter, "User and system CPU time spent, in seconds.",
                value: processorSeconds()),
            MetricFamily(
                "process_resident_memory_bytes", .gauge, "Resident memory size, in bytes.",
                value: figure(1, of: "VmRSS:", in: "/proc/self/status").map { $0 * 1_024 }),
            MetricFamily(
                "process_start_time_seconds", .gauge, "Start time of the process since the Unix epoch, in seconds.",
                value: startTime),
            MetricFamily("process_open_fds", .gauge, "Number of open file descriptors.", value: openFiles()),
            MetricFamily(
                "process_max_fds", .gauge, "Maximum number of open file descriptors.",
                value: figure(3, of: "Max open files", in: "/proc/self/limits")),
        ]
    }

    private static func processorSeconds() -> Double? {
        let fields = statFields()
        guard let user = seconds(fields, 11), let system = seconds(fields, 12) else { return nil }
        return user + system
    }

    private static func startSeconds() -> Double? {
        guard let boot = figure(1, of: "btime", in: "/proc/stat"), let afterwards = seconds(statFields(), 19)
        else { return nil }
        return boot + afterwards
    }

    /// The list holds the descriptor by which it is read.
    private static func openFiles() -> Double? {
        let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
        return names.map { Double(max($0.count - 1, 0)) }
    }

    /// What follows the program's name, which is in parentheses and may hold anything.
    private static func statFields() -> [Substring] {
        let text = text("/proc/self/stat")
        guard let end = text.lastIndex(of: ")") else { return [] }
        return text[text.index(after: end)...].split(separator: " ")
    }

    private static func seconds(_ fields: [Substring], _ index: Int) -> Double? {
        guard fields.indices.contains(index), let ticks = Double(fields[index]) else { return nil }
        return ticks / ticksPerSecond
    }

    /// A number in the line that begins with these words.
    private static func figure(_ index: Int, of words: String, in path: String) -> Double? {
        guard let line = text(path).split(separator: "\n").first(where: { $0.hasPrefix(words) }) else { return nil }
        let fields = line.split { $0.isWhitespace }
        return fields.indices.contains(index) ? Double(fields[index]) : nil
    }

    private static func text(_ path: String) -> String {
        (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }
}
