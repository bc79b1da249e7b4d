// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import ClipLifecycle
import HTTPTypes
import ObjectStorage
import OutboundHTTP

/// A clock that stands still on 2023-11-14.
struct StoppedClock: WallClock {
    func now() -> Timestamp { Timestamp(seconds: 1_700_000_000) }
    func sleep(for duration: Duration) async throws {}
}

extension S3Client {
    static func forTests(_ transport: FakeTransport) -> S3Client {
        S3Client(
            configuration: S3Configuration(
                endpoint: "https://storage.example/base/",
                bucket: "clips",
                credentials: StorageCredentials(accessKeyID: "key", secretAccessKey: "secret-of-the-test")
            ),
            transport: transport,
            clock: StoppedClock()
        )
    }
}

extension OutboundResponse {
    static func answer(
        _ status: Int,
        headers: HTTPFields = [:],
        etag: String? = nil,
        contentLength: UInt64? = nil,
        xml: String = ""
    ) -> OutboundResponse {
        var headers = headers
        headers[.eTag] = etag
        return OutboundResponse(
            head: ResponseHead(status: status, headers: headers, contentLength: contentLength),
            body: Array(xml.utf8)
        )
    }

    static func answer(
        _ status: Int,
        headers: HTTPFields = [:],
        error code: String,
        message: String = "the storage says why"
    ) -> OutboundResponse {
        answer(
            status,
            headers: headers,
            xml: """
                <?xml version="1.0" encoding="UTF-8"?>
                <Error><Code>\(code)</Code><Message>\(message)</Message><Resource>/clips/k</Resource></Error>
                """
        )
    }
}
