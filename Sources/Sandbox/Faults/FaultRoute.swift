// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// Where a fault may strike. A request belongs to its area's route and to its own.
package enum FaultRoute: String, CaseIterable, Sendable {
    /// Every Stream API call.
    case api
    case copy, list, get, edit, delete, downloads, token, subscription
    /// Direct and basic uploads to Stream.
    case upload
    /// The webhooks that the sandbox sends.
    case webhook
    /// The MP4 host.
    case mp4
    /// The bucket's public URL.
    case publicBucket = "public"
    /// Every S3 call.
    case s3
    case put, part, create, complete, abort, parts, head
    case getObject = "getobject"
    case deleteObject = "deleteobject"
    case listObjects = "listobjects"

    /// Requests to the S3 API.
    var isStorage: Bool {
        switch self {
        case .s3, .put, .part, .create, .complete, .abort, .parts, .head, .getObject, .deleteObject, .listObjects: true
        case .api, .copy, .list, .get, .edit, .delete, .downloads, .token, .subscription, .upload, .webhook, .mp4,
            .publicBucket:
            false
        }
    }

    /// Requests whose own body is what a cut cuts.
    var cutsRequestBody: Bool {
        switch self {
        case .put, .part, .upload: true
        case .api, .copy, .list, .get, .edit, .delete, .downloads, .token, .subscription, .webhook, .mp4,
            .publicBucket, .s3, .create, .complete, .abort, .parts, .head, .getObject, .deleteObject, .listObjects:
            false
        }
    }
}
