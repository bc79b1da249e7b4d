// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CurlTransport
import Foundation
import Logging
import ObjectStorage
import OutboundHTTP
import Testing

/// The S3 server that the environment names.
struct RealStorage {
    private let endpoint, accessKeyID, secretAccessKey, bucket: String
    private let transport: CurlTransport

    /// Throws where there is none, so that its absence is a failure and never goes unnoticed.
    init() throws {
        let environment = ProcessInfo.processInfo.environment
        func value(_ name: String) throws -> String {
            try #require(
                environment["CLIPBRIDGE_TEST_S3_\(name)"],
                "CLIPBRIDGE_TEST_S3_\(name) is not set: run deploy/test.sh, which starts an S3 server for the tests"
            )
        }
        endpoint = try value("ENDPOINT")
        accessKeyID = try value("ACCESS_KEY")
        secretAccessKey = try value("SECRET_KEY")
        bucket = try value("BUCKET")
        transport = try CurlTransport(logger: Logger(label: "real-s3"))
    }

    func client(
        endpoint: String? = nil,
        bucket: String? = nil,
        accessKeyID: String? = nil,
        secretAccessKey: String? = nil
    ) -> S3Client {
        S3Client(
            configuration: S3Configuration(
                endpoint: endpoint ?? self.endpoint,
                bucket: bucket ?? self.bucket,
                credentials: StorageCredentials(
                    accessKeyID: accessKeyID ?? self.accessKeyID,
                    secretAccessKey: secretAccessKey ?? self.secretAccessKey
                )
            ),
            transport: transport
        )
    }

    /// Every test has a folder of its own in the bucket, and leaves nothing under its key.
    func withKey(_ name: String, _ body: (S3Client, String) async throws -> Void) async throws {
        let client = client()
        let key = "\(UUID().uuidString)/\(name)"
        try await body(client, key)
        try await client.deleteObject(key)
    }

    /// For a bridge that puts its objects there.
    var settings: [String: String] {
        [
            "R2_ENDPOINT": endpoint, "R2_ACCESS_KEY_ID": accessKeyID, "R2_SECRET_ACCESS_KEY": secretAccessKey,
            "R2_BUCKET_NAME": bucket, "CLIPBRIDGE_R2_KEY": "\(UUID().uuidString)/{uid}.mp4",
        ]
    }

    /// The bytes of an object, downloaded.
    func digest(of key: String, in world: World) async throws -> FileDigest {
        let copy = world.path("object-\(UUID().uuidString)")
        let sink = FileSink(path: copy) { $0.status == 200 ? .write(offset: 0) : .collect }
        _ = try await client().getObject(key, sink: .file(sink))
        return try await FileDigest.ofFile(copy)
    }
}
