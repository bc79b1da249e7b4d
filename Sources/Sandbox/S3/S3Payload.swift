// clipbridge
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HTTPTypes
import ObjectStorage
import _NIOFileSystem

/// A request's body with everything that the request says about it.
struct S3Payload {
    let request: SandboxRequest
    /// Lower-case hexadecimal; nil where the signature leaves the body out.
    let sha256: String?

    /// Writes the body to a file that is there afterwards only if it is as it was announced.
    func receive(to path: String, bytesMax: UInt64) async throws -> FileIntake.Receipt {
        guard let announced = request.contentLength else { throw S3Error.missingContentLength }
        guard announced <= bytesMax else { throw S3Error.entityTooLarge }
        let md5 = try announcedMD5()
        let crc32 = request.headers[.amzChecksumCRC32]
        let receipt = try await reading {
            try await FileIntake.write(request.body, to: path, bytesMax: announced, wantsCRC32: crc32 != nil)
        }
        do {
            guard receipt.bytes == announced else { throw S3Error.incompleteBody }
            try check(md5: md5, receipt.md5)
            try check(sha256: receipt.sha256)
            if let crc32, crc32 != receipt.crc32Text { throw S3Error.badDigest("CRC32") }
        } catch {
            DataFolder.remove(path)
            throw error
        }
        return receipt
    }

    /// The whole body, of those that are small by nature.
    func collect(bytesMax: Int) async throws -> [UInt8] {
        let md5 = try announcedMD5()
        let bytes = try await reading { try await request.collectBody(bytesMax: bytesMax) }
        if let announced = request.contentLength, announced != bytes.count { throw S3Error.incompleteBody }
        let digest = FileIntake.digest(of: bytes)
        try check(md5: md5, digest.md5)
        try check(sha256: digest.sha256)
        return bytes
    }

    /// For requests that have no body.
    func checkEmpty() throws(S3Error) {
        guard request.contentLength ?? 0 == 0, let sha256 else { return }
        guard sha256 == SignatureV4.emptyPayloadHash else { throw .contentSHA256Mismatch }
    }

    /// What breaks while a body is read is the body's fault, unless the disk says otherwise.
    private func reading<Value>(_ read: () async throws -> Value) async throws -> Value {
        do {
            return try await read()
        } catch let cut as ConnectionCut {
            throw cut
        } catch is BodyTooLarge {
            throw S3Error.entityTooLarge
        } catch is FileSystemError {
            throw S3Error.fault(500)
        } catch {
            throw S3Error.incompleteBody
        }
    }

    private func announcedMD5() throws(S3Error) -> [UInt8]? {
        guard let header = request.headers[.contentMD5] else { return nil }
        guard let md5 = Data(base64Encoded: header), md5.count == 16 else { throw .invalidDigest }
        return Array(md5)
    }

    private func check(md5 announced: [UInt8]?, _ received: [UInt8]) throws(S3Error) {
        if let announced, announced != received { throw .badDigest("Content-MD5") }
    }

    private func check(sha256 received: [UInt8]) throws(S3Error) {
        if let sha256, sha256 != hexadecimal(received) { throw .contentSHA256Mismatch }
    }
}

extension FileIntake.Receipt {
    /// As `x-amz-checksum-crc32` has it.
    var crc32Text: String? {
        crc32.map { value in
            Data([24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }).base64EncodedString()
        }
    }
}
