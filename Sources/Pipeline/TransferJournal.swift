// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle

/// Keeps what a new process needs to go on with a transfer, and takes what it reports. What `save` and `report` return
/// from is durable. Each throws `TransferStop.leaseLost` once somebody else has the transfer.
package protocol TransferJournal: Sendable {
    func load() async throws -> TransferRecord?
    /// Writes the record and all its parts.
    func save(_ record: TransferRecord) async throws
    /// Writes one part.
    func save(_ part: TransferPart) async throws
    /// The transfer is over.
    func forget() async throws
    func report(_ observation: Observation) async throws
}

/// A clip's transfer, tied to the ledger by its lease.
struct LeasedJournal: TransferJournal {
    let request: ActionRequest
    let reporter: any ActionReporter

    func load() async throws -> TransferRecord? { try await reporter.transfer(for: request) }

    func save(_ record: TransferRecord) async throws {
        if try await !reporter.save(record, for: request) { throw TransferStop.leaseLost }
    }

    func save(_ part: TransferPart) async throws {
        if try await !reporter.save(part, for: request) { throw TransferStop.leaseLost }
    }

    func forget() async throws { _ = try await reporter.save(nil, for: request) }

    func report(_ observation: Observation) async throws {
        if try await !reporter.report(observation, for: request) { throw TransferStop.leaseLost }
    }
}
