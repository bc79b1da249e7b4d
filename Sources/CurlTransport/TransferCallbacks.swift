// clipbridge
// SPDX-License-Identifier: Apache-2.0

import CCurl
import OutboundHTTP

/// What libcurl calls while a transfer runs, always on the loop's thread. They capture nothing, throw nothing and call
/// no multi function: each hands over to its `Transfer`, which records or copies, and returns.
enum TransferCallbacks {
    static let header: ccurl_data_callback = { data, size, count, owner in
        let bytes = UnsafeRawBufferPointer(start: data, count: size * count)
        return transfer(owner).receiveHeaderLine(bytes) ? bytes.count : ccurl_write_abort()
    }

    static let write: ccurl_data_callback = { data, size, count, owner in
        let bytes = UnsafeRawBufferPointer(start: data, count: size * count)
        return transfer(owner).receiveBody(bytes) ? bytes.count : ccurl_write_abort()
    }

    static let read: ccurl_data_callback = { data, size, count, owner in
        let buffer = UnsafeMutableRawBufferPointer(start: data, count: size * count)
        return transfer(owner).supplyBody(buffer) ?? ccurl_read_abort()
    }

    static let seek: ccurl_seek_callback = { owner, offset, origin in
        transfer(owner).rewind(to: Int64(offset), origin: origin) ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL
    }

    static let openSocket: ccurl_socket_callback = { owner, _, address in
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = ccurl_address_bytes(address, &bytes)
        let isAllowed = transfer(owner).judge(Array(bytes.prefix(Int(count))))
        return isAllowed ? ccurl_open_socket(address) : ccurl_socket_bad()
    }

    static let prereq: ccurl_prereq_callback = { owner, remoteIP, _, _, _ in
        let text = remoteIP.map { String(cString: $0) } ?? ""
        return transfer(owner).judgeConnection(to: text) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
    }

    /// Unretained: `CurlDriver` holds the transfer for as long as libcurl may call back.
    private static func transfer(_ owner: UnsafeMutableRawPointer) -> Transfer {
        Unmanaged<Transfer>.fromOpaque(owner).takeUnretainedValue()
    }
}
