// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import Hummingbird

/// Names each request, so that what it brings about can be found in ledger and log.
struct TraceMiddleware<Context: RequestContext>: RouterMiddleware {
    @concurrent func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        try await TraceID.$current.withValue(.of(traceparent: request.headers[.traceparent])) {
            try await next(request, context)
        }
    }
}

extension HTTPField.Name {
    static let traceparent = HTTPField.Name("traceparent")!  // A literal of token characters.
}
