// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ObjectStorage
import Testing

@testable import Pipeline

@Suite struct ObjectKeyTemplateTests {
    private static let uid = ClipUID("0123456789abcdef0123456789abcdef")!  // Of the right length and alphabet.

    @Test(arguments: ["{uid}", "videos/{uid}.mp4", "a/{uid}/{uid}.mp4", "{uid}-x"])
    func keyLeadsBackToItsClip(_ template: String) {
        let template = ObjectKeyTemplate(template)
        #expect(template.uid(in: template.key(of: Self.uid)) == Self.uid)
        #expect(template.key(of: Self.uid).hasPrefix(template.prefix))
    }

    @Test(arguments: ["", "videos/", "videos/.mp4", "videos/x y.mp4", "other/0123.mp4", "videos/0123.mp4.bak"])
    func otherKeysAreNoClips(_ key: String) {
        #expect(ObjectKeyTemplate("videos/{uid}.mp4").uid(in: key) == nil)
    }
}

@Suite(.timeLimit(.minutes(2))) struct StaleUploadsTests {
    private static let ours = ClipUID("0123456789abcdef0123456789abcdef")!  // Of the right length and alphabet.

    @Test func onlyStaleUploadsOfOurClipsAreAborted() async throws {
        try await TransferWorld.run { world in
            let recorded = try await world.storage.createMultipartUpload("videos/\(Self.ours).mp4")
            let stale = try await world.storage.createMultipartUpload("videos/\(Self.ours).mp4")
            let strange = try await world.storage.createMultipartUpload("videos/fedcba9876543210.mp4")
            let foreign = try await world.storage.createMultipartUpload("videos/\(Self.ours).mp4.bak")
            let owner: @Sendable (ClipUID) -> UploadOwner = {
                $0 == Self.ours ? .clip(uploadID: recorded) : .stranger
            }
            let now = SystemWallClock().now()
            #expect(try await world.pipeline.abortStaleUploads(now: now, owner: owner) == 0)
            #expect(try await world.pipeline.abortStaleUploads(now: now + .seconds(3_700), owner: owner) == 1)
            let left = try await world.storage.listMultipartUploads(prefix: "").map(\.uploadID)
            #expect(Set(left) == [recorded, strange, foreign])
            #expect(!left.contains(stale))
        }
    }
}
