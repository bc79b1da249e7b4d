// clipbridge
// SPDX-License-Identifier: Apache-2.0

import ClipLifecycle
import ClipStore
import Foundation
import SQLiteClipStore
import Testing

/// Gives the path of a store's file in a folder of its own, which is removed at the end.
func withStorePath(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "clipbridge-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await body(folder.appending(path: "store.sqlite").path)
}

/// Opens a store and brings its schema up to date.
func openStore(
    _ path: String, table: String = "clips", column: String = "cloudflare_uid", bodiesPerRun: Int = 1 << 15
) async throws -> SQLiteClipStore {
    let store = try SQLiteClipStore(
        path: path, clipsTable: try #require(SQLName(table)), uidColumn: try #require(SQLName(column)),
        bodiesPerRun: bodiesPerRun)
    try await store.migrate()
    return store
}
