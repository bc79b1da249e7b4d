// clipbridge
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes

/// `/public/{key}`: the bucket's public URL, for anybody and for reading only.
struct PublicBucketRoutes: SandboxArea {
    let store: ObjectStore
    let bucket: String

    func faultRoutes(of request: SandboxRequest) -> Set<FaultRoute> { [.publicBucket] }

    func faultAnswer(status: Int, code: String?) -> SandboxResponse {
        Self.refusal(HTTPResponse.Status(code: status))
    }

    func respond(to request: SandboxRequest, beforeBody: () async throws -> Void) async throws -> SandboxResponse {
        guard request.method == .get || request.isHead else { return Self.refusal(.methodNotAllowed) }
        do throws(S3Error) {
            let key = try S3Target.key(request.rawPath.dropFirst("/public/".count))
            guard let object = store.object(bucket, key) else { return Self.refusal(.notFound) }
            return try ObjectReader(object: object, slices: store.slices(bucket, object)).answer(request)
        } catch {
            var answer = Self.refusal(HTTPResponse.Status(code: error.status))
            if let size = error.objectSize { answer.headers[.contentRange] = "bytes */\(size)" }
            return answer
        }
    }

    private static func refusal(_ status: HTTPResponse.Status) -> SandboxResponse {
        SandboxResponse(status: status, contentType: "text/plain; charset=UTF-8", text: "\(status.code)\n")
    }
}
