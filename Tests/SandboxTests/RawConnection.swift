// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import FoundationEssentials
import NIOCore
import NIOPosix
import ObjectStorage

@testable import Sandbox

extension TestSandbox {
    /// Sends a signed request whose target goes out as it stands, ends the sending side, and reads to the end.
    func rawS3(_ method: String, _ path: String, _ body: [UInt8], announced: Int? = nil) async throws -> String {
        let target = "/\(settings.bucket)\(path)"
        let date = SignatureV4.date(clock.now())
        let scope = SignatureV4.Scope(time: clock.now(), region: "auto")
        let parts = SignatureV4.Parts(
            method: method, path: target,
            signedHeaders: [
                .init("host", "127.0.0.1:\(settings.port)"), .init("x-amz-date", date),
                .init("x-amz-content-sha256", SignatureV4.unsignedPayload),
            ], payloadHash: SignatureV4.unsignedPayload)
        let signature = SignatureV4.signature(
            of: parts, date: date, scope: scope, secretAccessKey: settings.secretAccessKey)
        let head = [
            "\(method) \(target) HTTP/1.1", "Host: 127.0.0.1:\(settings.port)", "Connection: close",
            "x-amz-date: \(date)", "x-amz-content-sha256: \(SignatureV4.unsignedPayload)",
            "Content-Length: \(announced ?? body.count)",
            "Authorization: \(SignatureV4.algorithm) Credential=\(settings.accessKeyID)/\(scope.text), "
                + "SignedHeaders=\(parts.signedHeaderNames), Signature=\(signature)",
        ]
        return try await raw(Array((head.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body)
    }

    /// Sends bytes over a connection of its own, ends the sending side, and reads to the end.
    func raw(_ bytes: [UInt8]) async throws -> String {
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: "127.0.0.1", port: settings.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(bytes: bytes))
            outbound.finish()
            var answer: [UInt8] = []
            for try await buffer in inbound { answer += Array(buffer.readableBytesView) }
            return String(decoding: answer, as: UTF8.self)
        }
    }
}
