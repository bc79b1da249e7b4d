// clipbridge
// SPDX-License-Identifier: Apache-2.0

import BridgeTesting
import PostgresClipStore
import Testing

@Suite struct PostgresConformanceTests {
    @Test(arguments: ClipStoreConformance.Case.allCases)
    func conforms(_ name: ClipStoreConformance.Case) async throws {
        try await TestDatabase.with { database in
            let store = try database.store()
            try await store.migrate()
            try await ClipStoreConformance.run(name, on: store)
            try await store.close()
        }
    }
}
