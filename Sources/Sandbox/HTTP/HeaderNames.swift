// clipbridge
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes

extension HTTPField.Name {
    /// Traps only if the text were no token, and these are.
    private static func known(_ name: String) -> Self {
        guard let name = Self(name) else { preconditionFailure("\"\(name)\" is no header name") }
        return name
    }

    static let contentMD5 = known("content-md5")
    static let tusResumable = known("tus-resumable")
    static let rateLimit = known("ratelimit")
    static let rateLimitPolicy = known("ratelimit-policy")
    static let uploadCreator = known("upload-creator")
    static let uploadMetadata = known("upload-metadata")
    static let webhookSignature = known("webhook-signature")
    static let amzChecksumCRC32 = known("x-amz-checksum-crc32")
    static let amzChecksumMode = known("x-amz-checksum-mode")
    static let amzChecksumType = known("x-amz-checksum-type")
    static let amzCopySource = known("x-amz-copy-source")
    static let amzCopySourceRange = known("x-amz-copy-source-range")
    static let amzCopySourceIfMatch = known("x-amz-copy-source-if-match")
    static let amzCopySourceIfNoneMatch = known("x-amz-copy-source-if-none-match")
    static let amzMetadataDirective = known("x-amz-metadata-directive")
    static let amzBucketRegion = known("x-amz-bucket-region")
    static let amzMultipartPartsCount = known("x-amz-mp-parts-count")
}
