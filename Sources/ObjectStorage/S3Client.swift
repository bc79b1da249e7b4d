// clipbridge
// SPDX-License-Identifier: Apache-2.0

package import ClipLifecycle
package import HTTPTypes
package import OutboundHTTP

/// One bucket of an S3 storage, spoken to as R2 wants it: path style, the payload's real SHA-256 in every signature,
/// always a `Content-Length`, never a chunked body and never `Expect`. It retries nothing.
package struct S3Client: Sendable {
    package let configuration: S3Configuration
    private let transport: any HTTPTransport
    private let clock: any WallClock
    private let signer: RequestSigner

    package init(
        configuration: S3Configuration,
        transport: any HTTPTransport,
        clock: any WallClock = SystemWallClock()
    ) {
        self.configuration = configuration
        self.transport = transport
        self.clock = clock
        signer = RequestSigner(credentials: configuration.credentials, region: configuration.region)
    }

    /// One request, before it is signed.
    struct Call {
        var operation: String
        var method: HTTPRequest.Method
        var key: String?
        var query: [(name: String, value: String?)] = []
        var headers: HTTPFields = [:]
        var body: OutboundBody = .none
        var payloadHash = SignatureV4.emptyPayloadHash
        var sink: ResponseSink = .memory(bytesMax: 1 << 20)
        var limits: TransferLimits = .call
        var meter: TransferMeter?
        var notFound: ObjectStorageError.Code = .noSuchKey
    }

    /// Signs, sends, and throws unless the answer is a success.
    func perform(_ call: Call) async throws(ObjectStorageError) -> OutboundResponse {
        let url = configuration.url(key: call.key, query: call.query)
        let headers = signer.signedHeaders(
            method: call.method,
            url: url,
            headers: call.headers,
            payloadHash: call.payloadHash,
            time: clock.now()
        )
        let request = OutboundRequest(
            method: call.method,
            url: url,
            headers: headers,
            body: call.body,
            sink: call.sink,
            limits: call.limits,
            meter: call.meter
        )
        let response: OutboundResponse
        do throws(TransferError) {
            response = try await transport.send(request)
        } catch {
            throw ObjectStorageError(
                code: .transfer,
                message: "\(call.operation) got no answer: \(error.message)",
                transferError: error
            )
        }
        guard response.isSuccess else { throw self.error(of: response, call: call) }
        return response
    }

    func error(of response: OutboundResponse, call: Call) -> ObjectStorageError {
        ErrorAnswer(
            operation: call.operation,
            configuration: configuration,
            response: response,
            notFound: call.notFound,
            now: clock.now()
        ).error()
    }

    /// A success that lacks what it has to hold.
    func malformed(_ response: OutboundResponse, operation: String, lacking what: String) -> ObjectStorageError {
        ObjectStorageError(
            code: .malformedAnswer,
            message:
                "\(operation) was answered by \(configuration.endpoint) with \(response.status), but without \(what)",
            status: response.status
        )
    }
}

// MARK: - Objects

extension S3Client {
    /// Nil where the object does not exist; S3 says nothing else of a bucket that does not.
    package func headObject(_ key: String) async throws(ObjectStorageError) -> ObjectHead? {
        let operation = "look at object \"\(key)\""
        do throws(ObjectStorageError) {
            let response = try await perform(Call(operation: operation, method: .head, key: key))
            guard let size = response.head.contentLength else {
                throw malformed(response, operation: operation, lacking: "Content-Length")
            }
            return ObjectHead(size: size, etag: etag(of: response), contentType: response.head.headers[.contentType])
        } catch {
            if error.status == 404 { return nil }
            throw error
        }
    }

    /// Throws unless the bucket exists and may be used.
    package func headBucket() async throws(ObjectStorageError) {
        _ = try await perform(
            Call(operation: "look at bucket \"\(configuration.bucket)\"", method: .head, notFound: .noSuchBucket)
        )
    }

    /// Stores an object in one request and returns its ETag without quotes.
    ///
    /// It throws `.preconditionFailed` with `ifNoneMatch` `*` where there is an object already, and with `ifMatch`
    /// where there is another one than that tag's.
    package func putObject(
        _ key: String,
        body: OutboundBody,
        payloadHash: String,
        contentType: String? = nil,
        headers: HTTPFields = [:],
        ifNoneMatch: String? = nil,
        ifMatch: String? = nil,
        meter: TransferMeter? = nil
    ) async throws(ObjectStorageError) -> String {
        var headers = objectHeaders(headers, contentType: contentType, ifNoneMatch: ifNoneMatch)
        if let ifMatch { headers[.ifMatch] = "\"\(ifMatch)\"" }
        let call = Call(
            operation: "put of object \"\(key)\"",
            method: .put,
            key: key,
            headers: headers,
            body: body,
            payloadHash: payloadHash,
            limits: .file,
            meter: meter,
            notFound: .noSuchBucket
        )
        let response = try await perform(call)
        guard let tag = etag(of: response) else {
            throw malformed(response, operation: call.operation, lacking: "ETag")
        }
        return tag
    }

    /// Fetches an object into `sink`; an object that does not exist throws `.noSuchKey`.
    package func getObject(
        _ key: String,
        sink: ResponseSink,
        headers: HTTPFields = [:],
        meter: TransferMeter? = nil
    ) async throws(ObjectStorageError) -> OutboundResponse {
        try await perform(
            Call(
                operation: "fetch of object \"\(key)\"",
                method: .get,
                key: key,
                headers: headers,
                sink: sink,
                limits: .file,
                meter: meter
            )
        )
    }

    /// An object that does not exist is as good as deleted.
    package func deleteObject(_ key: String) async throws(ObjectStorageError) {
        do throws(ObjectStorageError) {
            _ = try await perform(Call(operation: "deletion of object \"\(key)\"", method: .delete, key: key))
        } catch {
            if error.code != .noSuchKey { throw error }
        }
    }

    func objectHeaders(_ given: HTTPFields, contentType: String?, ifNoneMatch: String? = nil) -> HTTPFields {
        var headers = given
        if let contentType { headers[.contentType] = contentType }
        if let ifNoneMatch { headers[.ifNoneMatch] = ifNoneMatch }
        return headers
    }

    func etag(of response: OutboundResponse) -> String? {
        response.head.headers[.eTag].map(ETag.unquoted)
    }
}
