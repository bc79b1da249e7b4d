// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle

/// The filters of a list call.
struct StreamListQuery: Sendable {
    static let limitMax = 1000

    var limit = limitMax
    var state: String?
    var uids: Set<String>?
    var name: String?
    var search: String?
    var creator: String?
    var type: String?
    var liveInput: String?
    var after: Timestamp?
    var before: Timestamp?
    var isAscending = false
    var includesCounts = false

    init(_ query: QueryItems) throws(StreamFailure) {
        if let text = query["limit"] {
            guard let limit = Int(text), (1...Self.limitMax).contains(limit) else {
                throw .badRequest("limit \"\(text)\" is not from 1 to \(Self.limitMax)")
            }
            self.limit = limit
        }
        state = query["status"]
        uids = query["id"].map { Set($0.split(separator: ",").map(String.init)) }
        name = query["video_name"] ?? query["name"]
        search = query["search"]?.lowercased()
        creator = query["creator"]
        type = query["type"]
        liveInput = query["live_input_id"]
        after = try Self.time(query, "after", or: "start")
        before = try Self.time(query, "before", or: "end")
        isAscending = query["asc"] == "true"
        includesCounts = query["include_counts"] == "true"
    }

    func accepts(_ video: StreamVideo, stateName: String) -> Bool {
        (state == nil || state == stateName)
            && (uids?.contains(video.uid) ?? true)
            && (name == nil || name == video.name)
            && (search.map { video.name?.lowercased().contains($0) ?? false } ?? true)
            && (creator == nil || creator == video.creator)
            && (type == nil || type == "vod")
            && liveInput == nil
            && (after.map { video.created > $0 } ?? true)
            && (before.map { video.created < $0 } ?? true)
    }

    private static func time(
        _ query: QueryItems, _ name: String, or olderName: String
    ) throws(StreamFailure) -> Timestamp? {
        guard let text = query[name] ?? query[olderName] else { return nil }
        guard let time = Timestamp(rfc3339: text) else { throw .badRequest("\(name) \"\(text)\" is no RFC 3339 time") }
        return time
    }
}

extension StreamVideoState.Phase {
    /// Cloudflare's word.
    var name: String {
        switch self {
        case .pendingUpload: "pendingupload"
        case .downloading: "downloading"
        case .queued: "queued"
        case .inProgress: "inprogress"
        case .ready: "ready"
        case .error: "error"
        }
    }
}
