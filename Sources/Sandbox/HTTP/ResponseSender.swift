// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import HTTPTypes
import HummingbirdCore
import NIOCore
import ObjectStorage
import _NIOFileSystem

/// Writes answers, whole or cut.
enum ResponseSender {
    private static let chunkBytes: Int64 = 128 * 1024

    @concurrent
    static func send(
        _ response: SandboxResponse, isHead: Bool, cut: ConnectionCut?, to writer: consuming ResponseWriter
    ) async throws {
        let head = head(of: response)
        let length = response.contentLength
        // A cut answer always lacks at least its last byte.
        let allowed = cut.map { min($0.after, length > 0 ? length - 1 : 0) }
        if let cut, isHead || length == 0 || (cut.after == 0 && cut.manner != .close) { throw cut }
        guard !isHead, length > 0 else { return try await writer.writeResponse(head) }

        var body: any ResponseBodyWriter = try await writer.writeHead(head)
        var left = allowed ?? length
        switch response.payload {
        case .none: break
        case .bytes(let bytes):
            try await body.write(ByteBuffer(bytes: bytes.prefix(Int(clamping: left))))
            response.onWritten?(Int(clamping: left))
        case .slices(let slices):
            for slice in slices where left > 0 {
                let count = min(slice.length, left)
                try await send(slice, length: count, onWritten: response.onWritten, to: &body)
                left -= count
            }
        }
        if let cut { throw cut }
        try await body.finish(nil)
    }

    private static func head(of response: SandboxResponse) -> HTTPResponse {
        var head = HTTPResponse(status: response.status, headerFields: response.headers)
        let hasNoBody = [HTTPResponse.Status.noContent, .notModified].contains(response.status)
        if !hasNoBody, head.headerFields[.contentLength] == nil {
            head.headerFields[.contentLength] = String(response.contentLength)
        }
        head.headerFields[.server] = "clipbridge-sandbox"
        head.headerFields[.date] = HTTPDate.text(SystemWallClock().now())
        head.headerFields[.cloudflareRay] = ObjectStore.randomName().prefix(16) + "-SBX"
        return head
    }

    @concurrent
    private static func send(
        _ slice: FileSlice, length: UInt64, onWritten: (@Sendable (Int) -> Void)?, to body: inout any ResponseBodyWriter
    ) async throws {
        let handle = try await FileSystem.shared.openFile(forReadingAt: FilePath(slice.path))
        do {
            var offset = Int64(slice.offset)
            let end = offset + Int64(length)
            while offset < end {
                let count = min(chunkBytes, end - offset)
                let chunk = try await handle.readChunk(fromAbsoluteOffset: offset, length: .bytes(count))
                guard chunk.readableBytes > 0 else { throw FileShrank() }
                try await body.write(chunk)
                onWritten?(chunk.readableBytes)
                offset += Int64(chunk.readableBytes)
            }
            try await handle.close()
        } catch {
            // In a task of its own: in a cancelled one it would not close, and a handle that is left open traps.
            await Task { try? await handle.close() }.value
            throw error
        }
    }
}

/// A file ended before the length that was promised for it.
private struct FileShrank: Error {}
