// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// A part of the sandbox that answers requests below paths of its own.
protocol SandboxArea: Sendable {
    /// Where faults may strike this request.
    func faultRoutes(of request: SandboxRequest) -> Set<FaultRoute>

    /// The answer that a fault gives instead of the area; `code` is S3's word for it, nil for what the status means.
    func faultAnswer(status: Int, code: String?) -> SandboxResponse

    /// Answers. `beforeBody` is called when the request is acceptable so far and its body is about to be read: a
    /// client that asked to wait for that is told to go on. Throws only `ConnectionCut`.
    func respond(to request: SandboxRequest, beforeBody: () async throws -> Void) async throws -> SandboxResponse
}
