// The one place where a row of `keys` becomes a record and back.

import Foundation
import GRDB

/// A key with what is needed to confirm it; stays inside this room.
struct KeyRow: Sendable, Equatable {
    let record: KeyRecord
    let digest: [UInt8]
    let pepperVersion: Int

    /// The columns that a row is decoded from.
    ///
    /// Naming them makes a missing one an error of SQLite; GRDB's subscripts trap on it.
    static let columns = """
        id, digest, pepper_ver, name, owner, scopes, models, rpm, tpm, max_parallel, budget_per_day,
        weight, created, expires, revoked_at, revoked_reason
        """

    init(record: KeyRecord, digest: [UInt8], pepperVersion: Int) {
        self.record = record
        self.digest = digest
        self.pepperVersion = pepperVersion
    }

    /// Decodes a row; `nil` if it is damaged, so that the key is refused.
    init?(_ row: Row) {
        guard let id = text(row, "id"), KeyFormat.isID(id),
            let digest = Data.fromDatabaseValue(row["digest"] as DatabaseValue), digest.count == 32,
            let version = integer(row, "pepper_ver"), let name = text(row, "name"),
            let owner = text(row, "owner"), let scopeText = text(row, "scopes"),
            let models = text(row, "models"), let weight = integer(row, "weight"),
            let created = integer(row, "created")
        else { return nil }
        var scopes: Set<Scope> = []
        for word in scopeText.split(separator: ",") {
            guard let scope = Scope(rawValue: String(word)) else { return nil }
            scopes.insert(scope)
        }
        // A limit that is there but cannot be read must not turn into no limit.
        for column in ["rpm", "tpm", "max_parallel", "budget_per_day", "expires", "revoked_at"] {
            let value: DatabaseValue = row[column]
            guard value.isNull || Int.fromDatabaseValue(value) != nil else { return nil }
        }
        for column in ["created", "expires", "revoked_at"] {
            guard integer(row, column).map(calendar.contains) ?? true else { return nil }
        }
        record = KeyRecord(
            id: id,
            name: name,
            owner: owner,
            scopes: scopes,
            models: models.split(separator: "\n").map(String.init),
            rpm: integer(row, "rpm"),
            tpm: integer(row, "tpm"),
            maxParallel: integer(row, "max_parallel"),
            budgetPerDay: integer(row, "budget_per_day"),
            weight: weight,
            created: date(created),
            expires: integer(row, "expires").map(date),
            revokedAt: integer(row, "revoked_at").map(date),
            revokedReason: text(row, "revoked_reason")
        )
        self.digest = Array(digest)
        pepperVersion = version
    }

    /// Writes everything that can be set, but the owner.
    static func update(_ db: Database, id: String, _ settings: KeySettings) throws {
        try db.execute(
            sql: """
                UPDATE keys SET name = ?, scopes = ?, models = ?, rpm = ?, tpm = ?, max_parallel = ?,
                    budget_per_day = ?, weight = ?, expires = ? WHERE id = ?
                """,
            arguments: [
                settings.name, settings.scopes.map(\.rawValue).sorted().joined(separator: ","),
                settings.models.joined(separator: "\n"), settings.rpm, settings.tpm,
                settings.maxParallel, settings.budgetPerDay, settings.weight,
                settings.expires.map(seconds), id,
            ]
        )
    }

    func insert(_ db: Database) throws {
        try db.execute(
            sql: """
                INSERT INTO keys (id, digest, pepper_ver, name, owner, scopes, models, rpm, tpm,
                    max_parallel, budget_per_day, weight, created, expires)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                record.id, Data(digest), pepperVersion, record.name, record.owner,
                record.scopes.map(\.rawValue).sorted().joined(separator: ","),
                record.models.joined(separator: "\n"), record.rpm, record.tpm, record.maxParallel,
                record.budgetPerDay, record.weight, seconds(record.created),
                record.expires.map(seconds),
            ]
        )
    }
}

/// Whole seconds since 1970, the database's time.
func seconds(_ date: Date) -> Int { Int(exactly: date.timeIntervalSince1970.rounded(.down)) ?? 0 }

/// 1970 to 9999: the moments that can be printed.
private let calendar = 0..<253_402_300_800

private func date(_ seconds: Int) -> Date { Date(timeIntervalSince1970: Double(seconds)) }

private func text(_ row: Row, _ column: String) -> String? {
    String.fromDatabaseValue(row[column] as DatabaseValue)
}

private func integer(_ row: Row, _ column: String) -> Int? {
    Int.fromDatabaseValue(row[column] as DatabaseValue)
}
