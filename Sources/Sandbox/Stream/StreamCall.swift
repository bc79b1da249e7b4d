// clipbridge
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes

/// A call of the Stream API, told apart by method and path.
enum StreamCall: Sendable, Equatable {
    case verifyToken
    case copy
    case basicUpload
    case directUpload
    case list
    case storageUsage
    case get(String)
    case edit(String)
    case delete(String)
    case listDownloads(String)
    case createDownload(String, type: String)
    case deleteDownload(String, type: String?)
    case token(String)
    case viewWebhook, putWebhook, deleteWebhook

    /// `segments` begin with `client`.
    static func parse(_ method: HTTPRequest.Method, _ segments: [String]) throws(StreamFailure) -> StreamCall {
        guard segments.count > 2, segments[1] == "v4" else { throw .noRoute }
        let rest = Array(segments.dropFirst(2))
        if rest == ["user", "tokens", "verify"] { return try pick(method, get: .verifyToken) }
        guard rest.count >= 3, rest[0] == "accounts" else { throw .noRoute }
        if Array(rest.dropFirst(2)) == ["tokens", "verify"] { return try pick(method, get: .verifyToken) }
        guard rest[2] == "stream" else { throw .noRoute }
        return try parseStream(method, Array(rest.dropFirst(3)))
    }

    /// The account that a path names.
    static func account(in segments: [String]) -> String? {
        segments.count > 3 && segments[2] == "accounts" ? segments[3] : nil
    }

    private static func parseStream(
        _ method: HTTPRequest.Method, _ path: [String]
    ) throws(StreamFailure) -> StreamCall {
        switch path.count {
        case 0: return try pick(method, get: .list, post: .basicUpload)
        case 1:
            switch path[0] {
            case "copy": return try pick(method, post: .copy)
            case "direct_upload": return try pick(method, post: .directUpload)
            case "storage-usage": return try pick(method, get: .storageUsage)
            case "webhook":
                return try pick(method, get: .viewWebhook, put: .putWebhook, delete: .deleteWebhook)
            default: return try pick(method, get: .get(path[0]), post: .edit(path[0]), delete: .delete(path[0]))
            }
        case 2 where path[1] == "token": return try pick(method, post: .token(path[0]))
        case 2 where path[1] == "downloads":
            return try pick(
                method, get: .listDownloads(path[0]), post: .createDownload(path[0], type: "default"),
                delete: .deleteDownload(path[0], type: nil))
        case 3 where path[1] == "downloads":
            return try pick(
                method, post: .createDownload(path[0], type: path[2]),
                delete: .deleteDownload(path[0], type: path[2]))
        default: throw .noRoute
        }
    }

    private static func pick(
        _ method: HTTPRequest.Method, get: StreamCall? = nil, post: StreamCall? = nil, put: StreamCall? = nil,
        delete: StreamCall? = nil
    ) throws(StreamFailure) -> StreamCall {
        let call: StreamCall? =
            switch method {
            case .get, .head: get
            case .post: post
            case .put: put
            case .delete: delete
            default: nil
            }
        guard let call else { throw .methodNotAllowed }
        return call
    }

    var faultRoute: FaultRoute? {
        switch self {
        case .copy: .copy
        case .basicUpload: .upload
        case .list: .list
        case .get: .get
        case .edit: .edit
        case .delete: .delete
        case .listDownloads, .createDownload, .deleteDownload: .downloads
        case .token: .token
        case .viewWebhook, .putWebhook, .deleteWebhook: .subscription
        case .verifyToken, .directUpload, .storageUsage: nil
        }
    }
}
