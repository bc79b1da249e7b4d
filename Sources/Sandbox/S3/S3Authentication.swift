// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import ObjectStorage

/// Checks Signature Version 4, in the header or in the query, of one key pair.
struct S3Authentication: Sendable {
    let accessKeyID: String
    let secretAccessKey: String
    let clock: any WallClock

    /// Either way from the sandbox's own time.
    private static let skewMax = Duration.seconds(900)
    private static let presignedSecondsMax = 604_800
    /// R2's own names; the first three mean the same.
    private static let regions: Set<String> = [
        "auto", "us-east-1", "", "wnam", "enam", "weur", "eeur", "apac", "oc",
    ]

    /// What a good signature says about the body: a hash that it must have, or nothing.
    func check(_ request: SandboxRequest) throws(S3Error) -> String? {
        if let header = request.headers[.authorization] {
            guard header.hasPrefix(SignatureV4.algorithm) else {
                throw header.hasPrefix("AWS ") ? .signatureV2 : .authorizationMalformed
            }
            return try checkHeader(header, request)
        }
        if request.query.contains("X-Amz-Signature") { return try checkQuery(request) }
        if request.query.contains("AWSAccessKeyId") { throw .signatureV2 }
        throw .accessDenied("Access Denied: the request is not signed.")
    }

    private struct Claim {
        var scope: SignatureV4.Scope
        var signedHeaders: [String]
        var signature: String
        var date: String
    }

    // MARK: Header

    private func checkHeader(_ header: String, _ request: SandboxRequest) throws(S3Error) -> String? {
        guard let payload = request.headers[.amzContentSHA256] else {
            throw .invalidRequest("Missing required header for this request: x-amz-content-sha256")
        }
        guard !payload.hasPrefix("STREAMING-") else { throw .notImplemented(payload) }
        let claim = try claim(inHeader: header, request)
        let unsigned = request.headers.map { $0.name.canonicalName }
            .filter { $0.hasPrefix("x-amz-") && !claim.signedHeaders.contains($0) }
        if !unsigned.isEmpty {
            throw .accessDenied(
                "There were headers present in the request which were not signed: "
                    + unsigned.joined(separator: ", "))
        }
        let parts = parts(of: request, signing: claim.signedHeaders, payloadHash: payload)
        let expected = SignatureV4.signature(
            of: parts, date: claim.date, scope: claim.scope, secretAccessKey: secretAccessKey)
        guard SignatureV4.isEqual(expected, claim.signature) else { throw .signatureDoesNotMatch }
        guard payload != SignatureV4.unsignedPayload else { return nil }
        guard payload.utf8.count == 64 else {
            throw .invalidArgument("x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a valid sha256 value.")
        }
        return payload.lowercased()
    }

    private func claim(inHeader header: String, _ request: SandboxRequest) throws(S3Error) -> Claim {
        var fields: [Substring: String] = [:]
        for item in header.dropFirst(SignatureV4.algorithm.count).split(whereSeparator: { $0 == "," || $0 == " " }) {
            let sides = item.split(separator: "=", maxSplits: 1)
            if sides.count == 2 { fields[sides[0]] = String(sides[1]) }
        }
        guard let credential = fields["Credential"], let signed = fields["SignedHeaders"],
            let signature = fields["Signature"]
        else { throw .authorizationMalformed }
        guard let date = amzDate(of: request), let time = SignatureV4.time(ofDate: date) else {
            throw .accessDenied("AWS authentication requires a valid Date or x-amz-date header")
        }
        let distance = (clock.now() - time).inSeconds
        guard abs(distance) <= Self.skewMax.inSeconds else { throw .requestTimeTooSkewed }
        return Claim(
            scope: try scope(credential, date: date),
            signedHeaders: try signedNames(signed), signature: signature, date: date)
    }

    private func amzDate(of request: SandboxRequest) -> String? {
        request.headers[.amzDate] ?? request.headers[.date].flatMap { HTTPDate.parse($0) }.map(SignatureV4.date)
    }

    // MARK: Query

    private func checkQuery(_ request: SandboxRequest) throws(S3Error) -> String? {
        let query = request.query
        guard query["X-Amz-Algorithm"] == SignatureV4.algorithm, let credential = query["X-Amz-Credential"],
            let date = query["X-Amz-Date"], let time = SignatureV4.time(ofDate: date),
            let seconds = query["X-Amz-Expires"].flatMap(Int.init), let signature = query["X-Amz-Signature"],
            let signed = query["X-Amz-SignedHeaders"]
        else { throw S3Error(400, "AuthorizationQueryParametersError", "Query-string authentication is incomplete.") }
        guard (1...Self.presignedSecondsMax).contains(seconds) else {
            throw S3Error(
                400, "AuthorizationQueryParametersError",
                "X-Amz-Expires must be from 1 to \(Self.presignedSecondsMax) seconds")
        }
        let scope = try scope(credential, date: date)
        let age = clock.now() - time
        guard age >= .zero - Self.skewMax else { throw .requestTimeTooSkewed }
        guard age <= .seconds(seconds) else { throw .expired }
        let names = try signedNames(signed)
        let payload = request.headers[.amzContentSHA256] ?? query["X-Amz-Content-Sha256"] ?? SignatureV4.unsignedPayload
        guard !payload.hasPrefix("STREAMING-") else { throw .notImplemented(payload) }
        let parts = parts(of: request, signing: names, payloadHash: payload)
        let expected = SignatureV4.presignedSignature(
            of: parts, date: date, scope: scope, secretAccessKey: secretAccessKey)
        guard SignatureV4.isEqual(expected, signature) else { throw .signatureDoesNotMatch }
        return payload == SignatureV4.unsignedPayload ? nil : payload.lowercased()
    }

    // MARK: Both

    /// `KEY/20130524/auto/s3/aws4_request`; the key's name may hold slashes, the rest can not.
    private func scope(_ credential: String, date: String) throws(S3Error) -> SignatureV4.Scope {
        let parts = credential.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 5, parts[parts.count - 1] == "aws4_request", parts[parts.count - 2] == "s3" else {
            throw .authorizationMalformed
        }
        let region = parts[parts.count - 3]
        let day = parts[parts.count - 4]
        guard parts.dropLast(4).joined(separator: "/") == accessKeyID else { throw .invalidAccessKeyID }
        guard Self.regions.contains(region) else {
            throw S3Error(
                400, "InvalidRegionName",
                "The region name '\(region)' is not valid. Must be one of: wnam, enam, weur, eeur, apac, oc, auto")
        }
        guard date.hasPrefix(day) else { throw .signatureDoesNotMatch }
        return SignatureV4.Scope(day: day, region: region)
    }

    private func signedNames(_ text: String) throws(S3Error) -> [String] {
        let names = text.split(separator: ";").map { $0.lowercased() }
        guard names.contains("host") else { throw .accessDenied("The host header must be signed.") }
        return names
    }

    private func parts(
        of request: SandboxRequest, signing names: [String], payloadHash: String
    ) -> SignatureV4.Parts {
        let headers = names.flatMap { name -> [SignatureV4.Header] in
            if name == "host" { return [SignatureV4.Header(name, request.authority)] }
            let values = HTTPField.Name(name).map { request.headers[values: $0] } ?? []
            return (values.isEmpty ? [""] : values).map { SignatureV4.Header(name, $0) }
        }
        return SignatureV4.Parts(
            method: request.method.rawValue, path: request.rawPath, query: request.rawQuery, signedHeaders: headers,
            payloadHash: payloadHash)
    }
}
