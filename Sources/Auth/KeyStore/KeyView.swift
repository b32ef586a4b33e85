// What the server knows of keys.db, and how it learns what is new: every key in memory, brought up
// to date from the rows that changed.

import Foundation
import GRDB
import Glibc

/// A read-only connection and the keys as they were when it was last asked.
struct KeyView {
    private let files: StateFiles
    private let queue: DatabaseQueue
    private let identity: FileIdentity
    private var dataVersion: Int?
    private var mark: Mark?
    private(set) var rows: [String: KeyRow] = [:]

    /// Where the reader stands: the newest change, and the newest audit row with its hash.
    private struct Mark: Equatable {
        let change: Int
        let audit: Int
        let hash: Data
    }

    private struct FileIdentity: Equatable {
        let device: UInt
        let inode: UInt

        init(_ path: String) throws(KeyStoreError) {
            var status = stat()
            guard lstat(path, &status) == 0 else { throw StateFiles.failure("look at", path) }
            device = UInt(status.st_dev)
            inode = UInt(status.st_ino)
        }
    }

    init(_ files: StateFiles, peppers: Peppers) throws(KeyStoreError) {
        try files.check()
        self.files = files
        identity = try FileIdentity(files.database)
        let queue = try KeyDatabase.openReader(files)
        self.queue = queue
        try KeyDatabase.wrap { try queue.read { db in try peppers.check(db, files) } }
    }

    /// Reads what changed since the last call.
    ///
    /// - Returns: The ids of keys that changed; `nil` if the file was replaced: reopen it.
    mutating func refresh() throws(KeyStoreError) -> Set<String>? {
        guard try FileIdentity(files.database) == identity else { return nil }
        let last = mark
        let lastVersion = dataVersion
        // Without write rights and without a writer, SQLite cannot tell whether the file changed
        // and counts every look as a change; the mark then saves reading the table again.
        let news = try KeyDatabase.wrap { () throws -> (version: Int?, news: News?) in
            let version = try queue.inDatabase { try Int.fetchOne($0, sql: "PRAGMA data_version") }
            if let version, version == lastVersion { return (version, nil) }
            return (version, try queue.read { try Self.news($0, since: last) })
        }
        dataVersion = news.version
        guard let found = news.news else { return [] }
        mark = found.mark
        var changed = Set(found.ids)
        if found.isWhole {
            for (id, row) in rows where found.rows[id] != row { changed.insert(id) }
            changed = changed.filter { rows[$0] != found.rows[$0] }
            rows = found.rows
        } else {
            for id in found.ids { rows[id] = found.rows[id] }
        }
        return changed
    }

    private struct News {
        let mark: Mark
        let isWhole: Bool
        let ids: [String]
        let rows: [String: KeyRow]
    }

    private static func news(_ db: Database, since last: Mark?) throws -> News? {
        let change = try Int.fetchOne(
            db.cachedStatement(sql: "SELECT coalesce(max(seq), 0) FROM changes")
        )
        let head = try Row.fetchOne(
            db.cachedStatement(sql: "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
        )
        let mark = Mark(
            change: change ?? 0,
            audit: head.flatMap { Int.fromDatabaseValue($0["seq"] as DatabaseValue) } ?? 0,
            hash: head.flatMap { Data.fromDatabaseValue($0["hash"] as DatabaseValue) } ?? Data()
        )
        guard mark != last else { return nil }
        if let last, try continues(db, from: last, to: mark) {
            let ids = try String.fetchAll(
                db,
                sql: "SELECT key_id FROM changes WHERE seq > ?",
                arguments: [last.change]
            )
            var rows: [String: KeyRow] = [:]
            for id in ids {
                let row = try Row.fetchOne(
                    db.cachedStatement(sql: "SELECT \(KeyRow.columns) FROM keys WHERE id = ?"),
                    arguments: [id]
                )
                rows[id] = row.flatMap(KeyRow.init)
            }
            return News(mark: mark, isWhole: false, ids: ids, rows: rows)
        }
        var rows: [String: KeyRow] = [:]
        let cursor = try Row.fetchCursor(db, sql: "SELECT \(KeyRow.columns) FROM keys")
        while let row = try cursor.next() {
            if let key = KeyRow(row) { rows[key.record.id] = key }
        }
        return News(mark: mark, isWhole: true, ids: Array(rows.keys), rows: rows)
    }

    /// Whether the database is a later state of the one that was seen, not a restored backup.
    private static func continues(_ db: Database, from last: Mark, to mark: Mark) throws -> Bool {
        guard mark.change >= last.change, mark.audit >= last.audit else { return false }
        guard last.audit > 0 else { return false }
        let hash = try Data.fetchOne(
            db,
            sql: "SELECT hash FROM audit WHERE seq = ?",
            arguments: [last.audit]
        )
        return hash == last.hash
    }
}
