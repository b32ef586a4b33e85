// keys.db: how it is opened and what its tables are.
//
// The writer (the CLI) uses WAL with synchronous=FULL: an acknowledged change survives a power cut.
// The server has no write rights. SQLite then needs the -wal and -shm files to exist, so the writer
// tells it to keep them when it closes (SQLITE_FCNTL_PERSIST_WAL). While no writer is connected
// SQLite rebuilds the WAL index in the server's own memory; when one connects, it reads the shared
// one.

import GRDB
import GRDBSQLite

enum KeyDatabase {
    /// "TGK1": marks the file as ours.
    static let applicationID = 0x5447_4B31

    /// Opens for reading only; never creates or changes a file.
    static func openReader(_ files: StateFiles) throws(KeyStoreError) -> DatabaseQueue {
        try wrap { try reader(files) }
    }

    /// Opens for writing, with the writer's lock held: sets WAL and brings the schema up to date.
    static func openWriter(_ files: StateFiles) throws(KeyStoreError) -> DatabaseQueue {
        try wrap {
            let queue = try DatabaseQueue(path: files.database, configuration: configuration())
            try queue.inDatabase { db in
                try checkIdentity(db, files)
                try keepLog(db)
                guard try String.fetchOne(db, sql: "PRAGMA journal_mode=WAL") == "wal" else {
                    throw KeyStoreError.foreignDatabase(
                        path: files.database,
                        problem: "cannot use WAL on this file system"
                    )
                }
                try db.execute(sql: "PRAGMA synchronous=FULL")
                try migrate(db)
            }
            return queue
        }
    }

    /// Turns errors of SQLite into ours; SQL texts and values never reach a message.
    static func wrap<T>(_ body: () throws -> T) throws(KeyStoreError) -> T {
        do {
            return try body()
        } catch let error as KeyStoreError {
            throw error
        } catch let error as DatabaseError {
            throw .database(
                code: Int(error.extendedResultCode.rawValue),
                message: error.message ?? "\(error.resultCode)"
            )
        } catch {
            throw .database(code: 0, message: "\(type(of: error))")
        }
    }

    private static func reader(_ files: StateFiles) throws -> DatabaseQueue {
        var configuration = configuration()
        configuration.readonly = true
        let queue = try DatabaseQueue(path: files.database, configuration: configuration)
        try queue.inDatabase { db in
            try checkIdentity(db, files)
            guard try version(db) == migrations.count else {
                throw KeyStoreError.notInitialised(path: files.database)
            }
            guard try String.fetchOne(db, sql: "PRAGMA quick_check(1)") == "ok" else {
                throw KeyStoreError.foreignDatabase(
                    path: files.database,
                    problem: "is damaged; restore it from a backup"
                )
            }
        }
        return queue
    }

    private static func configuration() -> Configuration {
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.foreignKeysEnabled = true
        configuration.prepareDatabase { db in
            try db.execute(
                sql: """
                    PRAGMA trusted_schema=OFF;
                    PRAGMA cell_size_check=ON;
                    PRAGMA secure_delete=ON;
                    PRAGMA mmap_size=0;
                    """
            )
        }
        return configuration
    }

    private static func version(_ db: Database) throws -> Int {
        try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    }

    private static func checkIdentity(_ db: Database, _ files: StateFiles) throws {
        let id = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
        guard id == applicationID || (id == 0 && tables == 0) else {
            throw KeyStoreError.foreignDatabase(
                path: files.database,
                problem: "is not a key database of torchgate"
            )
        }
        guard try version(db) <= migrations.count else {
            throw KeyStoreError.foreignDatabase(
                path: files.database,
                problem: "was written by a newer torchgate; use that version, or restore a backup"
            )
        }
    }

    private static func keepLog(_ db: Database) throws {
        var on: CInt = 1
        let code = sqlite3_file_control(db.sqliteConnection, "main", SQLITE_FCNTL_PERSIST_WAL, &on)
        guard code == SQLITE_OK else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
    }

    private static func migrate(_ db: Database) throws {
        guard try version(db) < migrations.count else { return }
        try db.inTransaction(.immediate) {
            for index in try version(db)..<migrations.count {
                try db.execute(sql: migrations[index])
                try db.execute(sql: "PRAGMA user_version=\(index + 1)")
            }
            return .commit
        }
    }

    /// Step n brings the schema from version n to n + 1; a released step is never edited.
    private static let migrations = [
        """
        PRAGMA application_id=\(applicationID);
        CREATE TABLE keys (
            id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 12),
            digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
            pepper_ver INTEGER NOT NULL REFERENCES peppers (version),
            name TEXT NOT NULL,
            owner TEXT NOT NULL,
            scopes TEXT NOT NULL,
            models TEXT NOT NULL,
            rpm INTEGER CHECK (rpm > 0),
            tpm INTEGER CHECK (tpm > 0),
            max_parallel INTEGER CHECK (max_parallel > 0),
            budget_per_day INTEGER CHECK (budget_per_day > 0),
            weight INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 1000),
            created INTEGER NOT NULL,
            expires INTEGER,
            revoked_at INTEGER,
            revoked_reason TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE peppers (
            version INTEGER NOT NULL PRIMARY KEY,
            fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32)
        ) STRICT;
        CREATE TABLE audit (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            at INTEGER NOT NULL,
            actor_uid INTEGER NOT NULL,
            verb TEXT NOT NULL,
            key_id TEXT NOT NULL,
            detail TEXT NOT NULL,
            prev BLOB NOT NULL CHECK (length(prev) = 32),
            hash BLOB NOT NULL CHECK (length(hash) = 32)
        ) STRICT;
        CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
            BEGIN SELECT raise(ABORT, 'audit rows are never deleted'); END;
        CREATE TRIGGER audit_keeps_contents BEFORE UPDATE ON audit
            BEGIN SELECT raise(ABORT, 'audit rows are never changed'); END;
        -- One row a key: when it last changed, by whatever statement. The server reads what is new.
        CREATE TABLE changes (
            key_id TEXT NOT NULL PRIMARY KEY,
            seq INTEGER NOT NULL UNIQUE
        ) STRICT, WITHOUT ROWID;
        CREATE TRIGGER keys_inserted AFTER INSERT ON keys BEGIN
            INSERT OR REPLACE INTO changes
                VALUES (NEW.id, (SELECT coalesce(max(seq), 0) + 1 FROM changes));
        END;
        CREATE TRIGGER keys_updated AFTER UPDATE ON keys BEGIN
            INSERT OR REPLACE INTO changes
                VALUES (NEW.id, (SELECT coalesce(max(seq), 0) + 1 FROM changes));
        END;
        CREATE TRIGGER keys_are_kept BEFORE DELETE ON keys
            BEGIN SELECT raise(ABORT, 'keys are revoked, never deleted'); END;
        """
    ]
}
