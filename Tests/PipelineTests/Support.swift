// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import CloudflareStream
import Foundation
import HTTPTypes
import Logging
import NIOConcurrencyHelpers
import ObjectStorage
import OutboundHTTP
import Pipeline
import Testing

/// A ledger in miniature: keeps what an action reports and saves.
final class MemoryReporter: ActionReporter {
    private struct State: Sendable {
        var reports: [Observation] = []
        var record: TransferRecord?
        var saved: [TransferRecord] = []
        var reportsUntilLost: Int?
    }

    private let state = NIOLockedValueBox(State())

    init(record: TransferRecord? = nil) { state.withLockedValue { $0.record = record } }

    /// From the next report of this kind on the lease is lost.
    func loseLease(afterReports count: Int = 0) { state.withLockedValue { $0.reportsUntilLost = count } }

    var statuses: [ClipStatus] { state.withLockedValue { $0.reports.compactMap(\.status) } }
    var reports: [Observation] { state.withLockedValue { $0.reports } }
    var record: TransferRecord? { state.withLockedValue { $0.record } }
    /// Everything that was ever put on record.
    var saved: [TransferRecord] { state.withLockedValue { $0.saved } }

    func details(of status: ClipStatus) -> Details? { reports.last { $0.status == status }?.details }

    func report(_ observation: Observation, for request: ActionRequest) async throws -> Bool {
        state.withLockedValue { state in
            if let left = state.reportsUntilLost {
                guard left > 0 else { return false }
                state.reportsUntilLost = left - 1
            }
            state.reports.append(observation)
            return true
        }
    }

    func transfer(for request: ActionRequest) async throws -> TransferRecord? { record }

    func save(_ transfer: TransferRecord?, for request: ActionRequest) async throws -> Bool {
        state.withLockedValue { state in
            if state.reportsUntilLost == 0 { return false }
            state.record = transfer
            if let transfer { state.saved.append(transfer) }
            return true
        }
    }

    func save(_ part: TransferPart, for request: ActionRequest) async throws -> Bool {
        state.withLockedValue { state in
            if state.reportsUntilLost == 0 { return false }
            state.record?.parts.removeAll { $0.number == part.number }
            state.record?.parts.append(part)
            return true
        }
    }
}

/// As many requests as anybody likes.
struct FreeBudget: RequestBudget {
    func acquire(_ priority: RequestPriority) async throws(StreamError) {}
    func observe(_ answer: BudgetAnswer) async {}
}

/// A folder for one test's spool, removed with the last reference.
final class Folder: Sendable {
    let path = NSTemporaryDirectory() + "clipbridge-pipeline-\(UUID().uuidString)"

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ bytes: [UInt8], to name: String) {
        _ = FileManager.default.createFile(atPath: "\(path)/\(name)", contents: Data(bytes))
    }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }
}

let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

func uid(_ number: Int) -> ClipUID {
    let digits = String(number)
    return ClipUID(String(repeating: "0", count: 32 - digits.count) + digits)!
}

func request(
    _ uid: ClipUID, _ action: Action, _ status: ClipStatus, _ details: Details = [:],
    _ change: (inout Work) -> Void = { _ in }
) -> ActionRequest {
    let now = Timestamp(seconds: 1_800_000_000)
    var work = Work(uid: uid, action: action, dueAt: now, stageEnteredAt: now)
    change(&work)
    return ActionRequest(work: work, status: status, details: details, epoch: 1)
}

extension ActionOutcome {
    var failure: ActionFailure? {
        switch self {
        case .failed(let failure), .mp4Missing(let failure): failure
        case .observed, .abandoned, .reported: nil
        }
    }

    var observation: Observation? { if case .observed(let observation) = self { observation } else { nil } }
}

extension HTTPField.Name {
    static let retryAfter = HTTPField.Name("Retry-After")!
}
