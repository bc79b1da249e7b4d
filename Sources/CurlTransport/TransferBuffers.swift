// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// How many bytes a transfer moves at a time.
///
/// The numbers were measured with libcurl 7.88.1 on loopback, as the client's CPU time for 1 GiB between a file in
/// memory and a socket (2 cores under other load, the least of 4 to 8 rounds):
///
/// | bytes at a time | download, plain | download, TLS | upload, plain | upload, TLS |
/// |---|---|---|---|---|
/// | 16 KiB | 1.4 s | 2.0 s | 0.68 s | 1.2 s |
/// | 64 KiB | 1.3 s | 1.9 s | 0.34 s | 0.9 s |
/// | 128 KiB | 1.2 s | 1.9 s | 0.64 s | – |
/// | 512 KiB | 0.9 s | 2.1 s | 0.61 s | 1.5 s |
///
/// What a download gained from more than 128 KiB was that it wrote less often, which `FileWriter` now sees to; and as
/// libcurl 7.88 fills a buffer up to 100 times before another transfer has its turn, a larger one starves the puts.
///
/// So four transfers of a download and three parts each hold 4 × (128 + 256 + 3 × (16 + 128)) KiB, 4 MiB, at most.
enum TransferBuffers {
    /// A call's answer, or that to an upload: libcurl's own default, because many may run at once.
    static let call = 16 * 1024

    /// What a file's body is read into. With TLS a read brings one record, 16 KiB, whatever there is room for.
    static let downloadPlain = 128 * 1024
    static let downloadTLS = 64 * 1024

    /// What a file's body is sent from: more no longer fits a processor's cache, nor mostly the socket.
    static let upload = 128 * 1024

    /// What a download's bytes are gathered in before they are written: the kernel's time for 1 GiB into new pages of
    /// ext4 was 0.55 s by 16 KiB, 0.30 s by 64 KiB, 0.25 s by 256 KiB, 0.27 s by 512 KiB and 0.7 s by 4 MiB, and
    /// 2.3 s by 16 KiB where they lie across the pages' bounds.
    static let fileWrite = 256 * 1024

    /// libcurl makes room for no less.
    static let leastDownload = 1024

    /// libcurl 7.88 fills its buffer up to 100 times in one go while the socket has more, and heeds no limit then
    /// (measured). Under a cap a go is to be at most 1/32 s of it, so that a few downloads together stay smooth; with
    /// less than 100 kB/s for each they come in pulses of 100 KiB.
    static func download(isTLS: Bool, bytesPerSecondMax: UInt64?) -> Int {
        let size = isTLS ? downloadTLS : downloadPlain
        guard let bytesPerSecondMax else { return size }
        return min(size, max(leastDownload, Int(clamping: bytesPerSecondMax / 3200)))
    }

    /// An upload's buffer goes out once in a go; under a cap it is filled with at most 1/64 s of that.
    static func uploadFill(bytesPerSecondMax: UInt64?) -> Int {
        guard let bytesPerSecondMax else { return upload }
        return min(upload, max(1024, Int(clamping: bytesPerSecondMax / 64)))
    }
}
