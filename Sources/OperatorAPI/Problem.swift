// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import Hummingbird
import Logging

/// An error of the operator API: problem details (RFC 9457), with `message` equal to `detail`.
struct Problem: Error, HTTPResponseError {
    var status: HTTPResponse.Status
    var detail: String
    var headers: HTTPFields = [:]

    static func badRequest(_ detail: String) -> Problem { Problem(status: .badRequest, detail: detail) }
    static func notFound(_ detail: String) -> Problem { Problem(status: .notFound, detail: detail) }
    static func conflict(_ detail: String) -> Problem { Problem(status: .conflict, detail: detail) }

    static func unknownClip(_ uid: String) -> Problem { notFound("there is no clip \"\(uid.prefix(64))\"") }

    static func noRoute(_ request: Request) -> Problem { notFound("there is no \(request.method) \(request.uri.path)") }

    static func methodNotAllowed(_ allowed: [HTTPRequest.Method]) -> Problem {
        let list = allowed.map(\.rawValue).sorted().joined(separator: ", ")
        return Problem(status: .methodNotAllowed, detail: "only \(list) is served here", headers: [.allow: list])
    }

    static func unavailable(_ detail: String) -> Problem {
        Problem(status: .serviceUnavailable, detail: detail, headers: [.retryAfter: "5"])
    }

    func response(from request: Request, context: some RequestContext) throws -> Response {
        let body: JSONValue = [
            "type": "about:blank", "title": .string(status.reasonPhrase), "status": .integer(Int64(status.code)),
            "detail": .string(detail), "message": .string(detail),
        ]
        var response = Response.json(body, status: status, contentType: "application/problem+json")
        response.headers.append(contentsOf: headers)
        return response
    }
}

extension HTTPField.Name {
    static let retryAfter = HTTPField.Name("Retry-After")!  // A literal of token characters.
    static let secFetchSite = HTTPField.Name("Sec-Fetch-Site")!  // A literal of token characters.
}

/// Turns whatever a route throws into problem details, so that no answer of the API is anything else.
struct ProblemMiddleware<Context: RequestContext>: RouterMiddleware {
    @concurrent func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let problem as Problem {
            return try problem.response(from: request, context: context)
        } catch let error as HTTPError where error.status == .notFound {
            return try Problem.noRoute(request).response(from: request, context: context)
        } catch let error as HTTPError {
            return try Problem(status: error.status, detail: error.body ?? error.status.reasonPhrase)
                .response(from: request, context: context)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            context.logger.error("request failed", metadata: ["error": "\(error)"])
            return try Problem.unavailable("the store can not answer at the moment: try again")
                .response(from: request, context: context)
        }
    }
}
