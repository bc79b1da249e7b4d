// clipbridge
// SPDX-License-Identifier: Apache-2.0

/// What makes a store of schema 8 one of schema 7 again, for tests of the way back up.
enum SchemaSeven {
    static let sql = """
        DROP TRIGGER clipbridge_deliveries_removed;
        DROP TABLE clipbridge_bodies;
        DROP TABLE clipbridge_bodies_recent;
        DELETE FROM clipbridge_meta WHERE key = 'bodies_indexed';
        CREATE TABLE clipbridge_deliveries_7 (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            received_at INTEGER NOT NULL,
            signed_at INTEGER NOT NULL,
            signature TEXT NOT NULL,
            body BLOB NOT NULL,
            body_sha256 BLOB NOT NULL UNIQUE,
            uid TEXT,
            outcome TEXT NOT NULL,
            signal TEXT
        );
        INSERT INTO clipbridge_deliveries_7 SELECT * FROM clipbridge_deliveries;
        DELETE FROM sqlite_sequence WHERE name = 'clipbridge_deliveries_7';
        UPDATE sqlite_sequence SET name = 'clipbridge_deliveries_7' WHERE name = 'clipbridge_deliveries';
        DROP TABLE clipbridge_deliveries;
        ALTER TABLE clipbridge_deliveries_7 RENAME TO clipbridge_deliveries;
        CREATE INDEX clipbridge_deliveries_apart ON clipbridge_deliveries (uid, id) WHERE outcome <> 'accepted';
        CREATE INDEX clipbridge_deliveries_received ON clipbridge_deliveries (received_at);
        UPDATE clipbridge_meta SET value = 7 WHERE key = 'schema_version';
        """
}
