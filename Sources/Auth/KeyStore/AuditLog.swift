// The append-only record of who changed which key. Each row holds the hash of the row before it, so
// an edited or missing row shows; noting the head's hash elsewhere also shows a rewritten chain.

import Crypto
import Foundation
import GRDB
import Glibc

/// What checking the audit chain found.
public struct AuditReport: Sendable, Hashable {
    /// Number of rows.
    public let rows: Int
    /// Hash of the newest row in hex; keep it elsewhere to notice a chain that was rewritten whole.
    public let head: String
    /// First row that does not fit, and why; `nil` where the chain holds.
    public let problem: String?
}

enum AuditLog {
    private static let origin = [UInt8](repeating: 0, count: 32)

    /// Adds a row; call it in the transaction of the change itself.
    static func append(
        _ db: Database,
        verb: String,
        keyID: String,
        detail: String,
        at: Date
    ) throws {
        let last = try Row.fetchOne(
            db,
            sql: "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"
        )
        let previous = try last.map { Array(try Data.fetch($0, "hash")) } ?? origin
        let row = Entry(
            seq: (try last.map { try Int.fetch($0, "seq") } ?? 0) + 1,
            at: seconds(at),
            uid: Int(getuid()),
            verb: verb,
            keyID: keyID,
            detail: detail
        )
        try db.execute(
            sql: """
                INSERT INTO audit (seq, at, actor_uid, verb, key_id, detail, prev, hash)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                row.seq, row.at, row.uid, row.verb, row.keyID, row.detail, Data(previous),
                Data(row.hash(after: previous)),
            ]
        )
    }

    /// Walks the whole chain and compares it with the keys that exist.
    static func verify(_ db: Database) throws -> AuditReport {
        var previous = origin
        var count = 0
        var verbs: [String: Set<String>] = [:]
        let rows = try Row.fetchCursor(
            db,
            sql:
                "SELECT seq, at, actor_uid, verb, key_id, detail, prev, hash FROM audit ORDER BY 1"
        )
        while let row = try rows.next() {
            let entry = Entry(
                seq: try Int.fetch(row, "seq"),
                at: try Int.fetch(row, "at"),
                uid: try Int.fetch(row, "actor_uid"),
                verb: try String.fetch(row, "verb"),
                keyID: try String.fetch(row, "key_id"),
                detail: try String.fetch(row, "detail")
            )
            count += 1
            guard entry.seq == count, Array(try Data.fetch(row, "prev")) == previous,
                Array(try Data.fetch(row, "hash")) == entry.hash(after: previous)
            else { return report(count, previous, "row \(count) was changed or is missing") }
            verbs[entry.keyID, default: []].insert(entry.verb)
            previous = Array(try Data.fetch(row, "hash"))
        }
        // AUTOINCREMENT remembers the highest number ever given: rows cut off the end show.
        let highest = try Int.fetchOne(
            db,
            sql: "SELECT seq FROM sqlite_sequence WHERE name='audit'"
        )
        guard (highest ?? 0) == count else {
            return report(count, previous, "rows after \(count) are missing")
        }
        let keys = try Row.fetchCursor(db, sql: "SELECT id, revoked_at FROM keys ORDER BY id")
        while let row = try keys.next() {
            let id = try String.fetch(row, "id")
            let revoked = !(row["revoked_at"] as DatabaseValue).isNull
            let known = verbs[id] ?? []
            guard known.contains("create"), known.contains("revoke") == revoked else {
                return report(count, previous, "key \(id) was changed without an audit row")
            }
        }
        return report(count, previous, nil)
    }

    private static func report(_ rows: Int, _ head: [UInt8], _ problem: String?) -> AuditReport {
        let hex = head.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        return AuditReport(rows: rows, head: hex, problem: problem)
    }

    private struct Entry {
        let seq: Int
        let at: Int
        let uid: Int
        let verb: String
        let keyID: String
        let detail: String

        /// SHA-256 over the previous hash and every field, each led by its length.
        func hash(after previous: [UInt8]) -> [UInt8] {
            var hasher = SHA256()
            hasher.update(data: previous)
            for field in [String(seq), String(at), String(uid), verb, keyID, detail] {
                hasher.update(data: Array("\(field.utf8.count):".utf8))
                hasher.update(data: Array(field.utf8))
            }
            return Array(hasher.finalize())
        }
    }
}

extension DatabaseValueConvertible {
    /// A column that must be there and of this type; GRDB's own subscript traps otherwise.
    fileprivate static func fetch(_ row: Row, _ column: String) throws -> Self {
        guard let value = Self.fromDatabaseValue(row[column] as DatabaseValue) else {
            throw KeyStoreError.database(code: 11, message: "audit: column \(column) is damaged")
        }
        return value
    }
}
