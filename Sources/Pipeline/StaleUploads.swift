// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
import ObjectStorage

/// What a ledger knows of a clip's upload.
package enum UploadOwner: Sendable, Equatable {
    /// No clip of ours: the object is somebody else's.
    case stranger
    /// A clip of ours, with the upload that is on record for it, if any.
    case clip(uploadID: String?)
}

extension Pipeline {
    /// The time between an upload's beginning and its record is far less.
    private static let staleAge = Duration.seconds(3_600)

    /// Aborts uploads in parts that nobody goes on with, so that their parts are not paid for: those under the key of a
    /// clip of ours that are older than an hour and not on record. Nothing else in the bucket is touched. A server that
    /// does not list uploads keeps them until it clears up by itself, as R2 does after a week.
    ///
    /// - Returns: how many were aborted.
    package func abortStaleUploads(
        now: Timestamp, owner: @Sendable (ClipUID) async throws -> UploadOwner
    ) async throws -> Int {
        let storage = transfers.engine.storage
        let template = ObjectKeyTemplate(transfers.engine.settings.objectKey)
        var aborted = 0
        for upload in try await storage.listMultipartUploads(prefix: template.prefix) {
            guard let uid = template.uid(in: upload.key), let initiated = upload.initiated,
                now - initiated > Self.staleAge,
                case .clip(let recorded) = try await owner(uid), recorded != upload.uploadID
            else { continue }
            try await storage.abortMultipartUpload(upload.key, uploadID: upload.uploadID)
            aborted += 1
        }
        return aborted
    }
}

/// `videos/{uid}.mp4`
struct ObjectKeyTemplate: Sendable {
    private static let place = "{uid}"

    private let text: String

    init(_ text: String) { self.text = text }

    /// What all keys begin with.
    var prefix: String { text.firstRange(of: Self.place).map { String(text[..<$0.lowerBound]) } ?? text }

    func key(of uid: ClipUID) -> String { text.replacing(Self.place, with: uid.rawValue) }

    /// Nil for a key that is not made by this template.
    func uid(in key: String) -> ClipUID? {
        guard let place = text.firstRange(of: Self.place), key.hasPrefix(prefix) else { return nil }
        let behind = text[place.upperBound...].prefix { $0 != "{" }
        let rest = key.dropFirst(prefix.count)
        let end = behind.isEmpty ? rest.endIndex : rest.firstRange(of: behind)?.lowerBound
        guard let end, let uid = ClipUID(rest[..<end]), self.key(of: uid) == key else { return nil }
        return uid
    }
}
