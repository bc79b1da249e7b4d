// clipbridge
// SPDX-License-Identifier: Apache-2.0

import GRDBSQLite
import NIOConcurrencyHelpers

/// A disk for SQLite's logs that can be full, whenever a test says so.
///
/// SQLite's own way to the disk (its VFS) is replaced for this process by one that only differs in how a log is written
/// (https://www.sqlite.org/vfs.html).
enum FullDisk {
    /// Logs whose paths begin with any of these can not be written.
    private static let full = NIOLockedValueBox<Set<String>>([])

    static func isFull(at path: String, during body: () async throws -> Void) async rethrows {
        full.withLockedValue { _ = $0.insert(path) }
        defer { full.withLockedValue { _ = $0.remove(path) } }
        try await body()
    }

    private static let logs = NIOLockedValueBox<[UInt: String]>([:])
    // Never changed, and there is always one.
    private nonisolated(unsafe) static let system = unsafe sqlite3_vfs_find(nil)!
    // Written before it is registered. In memory of their own, as this and the next: Swift 6.3 makes a global of such a
    // C structure 4 bytes too small.
    private nonisolated(unsafe) static let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
    // Written with `logs` locked, before the first log is open.
    private nonisolated(unsafe) static let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
    // Like `methods`; nil until then.
    private nonisolated(unsafe) static var systemMethods: UnsafePointer<sqlite3_io_methods>?

    /// Once, before a store is opened.
    static let isInstalled: Bool = {
        unsafe vfs.initialize(to: system.pointee)
        unsafe vfs.pointee.xOpen = { _, path, file, flags, outFlags in
            let result = unsafe system.pointee.xOpen(system, path, file, flags, outFlags)
            guard result == SQLITE_OK, flags & SQLITE_OPEN_WAL != 0, let path = unsafe path, let file = unsafe file
            else { return result }
            unsafe replaceWrite(of: file, at: String(cString: path))
            return result
        }
        return unsafe sqlite3_vfs_register(vfs, 1) == SQLITE_OK
    }()

    private static func replaceWrite(of file: UnsafeMutablePointer<sqlite3_file>, at path: String) {
        logs.withLockedValue { opened in
            // All logs have the same methods.
            if unsafe systemMethods == nil {
                unsafe systemMethods = file.pointee.pMethods
                unsafe methods.initialize(to: file.pointee.pMethods.pointee)
                unsafe methods.pointee.xWrite = { unsafe FullDisk.write($0, $1, $2, $3) }
            }
            opened[UInt(bitPattern: file)] = path
        }
        unsafe file.pointee.pMethods = UnsafePointer(methods)
    }

    private static func write(
        _ file: UnsafeMutablePointer<sqlite3_file>?, _ bytes: UnsafeRawPointer?, _ count: Int32, _ offset: Int64
    ) -> Int32 {
        let path = logs.withLockedValue { $0[UInt(bitPattern: file)] } ?? ""
        if full.withLockedValue({ $0.contains { path.hasPrefix($0) } }) { return SQLITE_FULL }
        return unsafe systemMethods?.pointee.xWrite(file, bytes, count, offset) ?? SQLITE_IOERR
    }
}
