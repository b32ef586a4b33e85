// The writing side of the store: what the operator's commands do. A change and its audit row are
// one transaction; nothing is acknowledged before it is on the disk.

public import Foundation
import GRDB

/// A key that was just made; the only moment at which the whole key exists outside its holder.
public struct CreatedKey: Sendable {
    /// The key's record.
    public let record: KeyRecord
    /// The whole key, to be shown once and forgotten.
    public let key: String
}

/// Creates, lists and revokes keys; safe beside a running server and beside other writers.
public final class KeyAdministration: Sendable {
    private let files: StateFiles
    private let queue: DatabaseQueue

    private init(files: StateFiles, queue: DatabaseQueue) {
        self.files = files
        self.queue = queue
    }

    /// Opens the store for writing.
    ///
    /// - Parameters:
    ///   - files: Where the store is.
    ///   - create: Whether to make a store that does not exist yet.
    /// - Returns: The open store.
    /// - Throws: ``KeyStoreError/notInitialised(path:)`` where there is none and `create` is false.
    public static func open(
        _ files: StateFiles,
        create: Bool
    ) throws(KeyStoreError) -> KeyAdministration {
        if create { try files.prepare() } else { try files.check() }
        let queue = try WriterLock.holding(files.writerLock) { () throws(KeyStoreError) in
            try KeyDatabase.openWriter(files)
        }
        return KeyAdministration(files: files, queue: queue)
    }

    /// Makes a key and its audit row.
    ///
    /// - Throws: ``KeyStoreError/invalidSetting(_:)`` before anything is written.
    public func create(
        _ settings: KeySettings,
        now: Date = Date()
    ) throws(KeyStoreError) -> CreatedKey {
        try settings.validate(now: now)
        return try write { db in
            let peppers = try self.peppers(db)
            let (id, key) = try KeyFormat.generate()
            guard let digest = peppers.digest(of: key, version: peppers.newest) else {
                throw KeyStoreError.pepper(path: self.files.pepper, problem: "is empty")
            }
            let record = KeyRecord(
                id: id,
                name: settings.name,
                owner: settings.owner ?? id,
                scopes: settings.scopes,
                models: settings.models,
                rpm: settings.rpm,
                tpm: settings.tpm,
                maxParallel: settings.maxParallel,
                budgetPerDay: settings.budgetPerDay,
                weight: settings.weight,
                created: Date(timeIntervalSince1970: Double(seconds(now))),
                expires: settings.expires.map { Date(timeIntervalSince1970: Double(seconds($0))) },
                revokedAt: nil,
                revokedReason: nil
            )
            try KeyRow(record: record, digest: digest, pepperVersion: peppers.newest).insert(db)
            let scopes = settings.scopes.map(\.rawValue).sorted().joined(separator: ",")
            try AuditLog.append(
                db,
                verb: "create",
                keyID: id,
                detail: "name=\(settings.name) scopes=\(scopes)",
                at: now
            )
            return CreatedKey(record: record, key: key)
        }
    }

    /// Every key, revoked and expired ones too, oldest first.
    public func list() throws(KeyStoreError) -> [KeyRecord] {
        try KeyDatabase.wrap {
            try queue.read { db in
                try Row.fetchAll(db, sql: "SELECT \(KeyRow.columns) FROM keys ORDER BY created, id")
                    .compactMap { KeyRow($0)?.record }
            }
        }
    }

    /// One key, whatever its state.
    public func record(id: String) throws(KeyStoreError) -> KeyRecord {
        try KeyDatabase.wrap { try queue.read { db in try Self.record(db, id) } }
    }

    /// Changes settings of a key; its identity, owner and life before stay.
    ///
    /// - Parameters:
    ///   - id: The key.
    ///   - now: The moment of the change.
    ///   - edit: Gets the present settings; its error ends the change.
    /// - Returns: The record as it now is, and false if it is as before: then nothing is written.
    /// - Throws: ``KeyStoreError/unknownKey(_:)``, or ``KeyStoreError/invalidSetting(_:)``, also for
    ///   a revoked key.
    public func change(
        id: String,
        now: Date = Date(),
        _ edit: (inout KeySettings) -> Void
    ) throws(KeyStoreError) -> (record: KeyRecord, changed: Bool) {
        try write { db in
            let before = try Self.record(db, id)
            guard before.revokedAt == nil else {
                throw KeyStoreError.invalidSetting("key \(id) is revoked, which is final")
            }
            let old = KeySettings(of: before)
            var new = old
            edit(&new)
            new.owner = old.owner
            // An end that has passed may stay as it is.
            var checked = new
            if new.expires == old.expires { checked.expires = nil }
            try checked.validate(now: now)
            let changes = new.differences(from: old)
            guard !changes.isEmpty else { return (before, false) }
            try KeyRow.update(db, id: id, new)
            let detail = changes.joined(separator: " ")
            try AuditLog.append(db, verb: "set", keyID: id, detail: detail, at: now)
            return (try Self.record(db, id), true)
        }
    }

    /// Ends a key for good.
    ///
    /// - Returns: The record as it now is, and false if the key had been revoked before: then
    ///   nothing changes.
    /// - Throws: ``KeyStoreError/unknownKey(_:)``.
    public func revoke(
        id: String,
        reason: String,
        now: Date = Date()
    ) throws(KeyStoreError) -> (record: KeyRecord, changed: Bool) {
        try KeySettings.validateText(reason, as: "the reason", allowEmpty: true)
        return try write { db in
            let before = try Self.record(db, id)
            guard before.revokedAt == nil else { return (before, false) }
            try db.execute(
                sql: "UPDATE keys SET revoked_at = ?, revoked_reason = ? WHERE id = ?",
                arguments: [seconds(now), reason, id]
            )
            try AuditLog.append(db, verb: "revoke", keyID: id, detail: reason, at: now)
            return (try Self.record(db, id), true)
        }
    }

    /// Checks the audit chain from its first row to its last.
    public func verifyAudit() throws(KeyStoreError) -> AuditReport {
        try KeyDatabase.wrap { try queue.read { db in try AuditLog.verify(db) } }
    }

    private static func record(_ db: Database, _ id: String) throws -> KeyRecord {
        let row = try Row.fetchOne(
            db,
            sql: "SELECT \(KeyRow.columns) FROM keys WHERE id = ?",
            arguments: [id]
        )
        guard let row else { throw KeyStoreError.unknownKey(id) }
        guard let key = KeyRow(row) else {
            throw KeyStoreError.database(code: 11, message: "the row of key \(id) is damaged")
        }
        return key.record
    }

    /// The pepper, made at first use, and known to the database by its fingerprint.
    private func peppers(_ db: Database) throws -> Peppers {
        var peppers = try Peppers(reading: files)
        if peppers == nil {
            let known = try Int.fetchOne(db, sql: "SELECT count(*) FROM peppers") ?? 0
            guard known == 0 else {
                throw KeyStoreError.pepper(
                    path: files.pepper,
                    problem: "is missing, and the keys cannot be confirmed without it; "
                        + "restore it from your backup of it"
                )
            }
            try Peppers.create(files)
            peppers = try Peppers(reading: files)
        }
        guard let peppers, let fingerprint = peppers.fingerprint(version: peppers.newest) else {
            throw KeyStoreError.pepper(path: files.pepper, problem: "cannot be read")
        }
        try peppers.check(db, files)
        try db.execute(
            sql: "INSERT OR IGNORE INTO peppers (version, fingerprint) VALUES (?, ?)",
            arguments: [peppers.newest, Data(fingerprint)]
        )
        return peppers
    }

    private func write<T>(_ body: (Database) throws -> T) throws(KeyStoreError) -> T {
        try WriterLock.holding(files.writerLock) { () throws(KeyStoreError) in
            try KeyDatabase.wrap {
                try queue.writeWithoutTransaction { db in
                    var result: T?
                    try db.inTransaction(.immediate) {
                        result = try body(db)
                        return .commit
                    }
                    guard let result else {
                        throw KeyStoreError.database(code: 1, message: "no result")
                    }
                    return result
                }
            }
        }
    }
}

extension Peppers {
    /// Refuses a pepper other than the one that the database's keys were made with.
    func check(_ db: Database, _ files: StateFiles) throws {
        for row in try Row.fetchAll(db, sql: "SELECT version, fingerprint FROM peppers") {
            let version = Int.fromDatabaseValue(row["version"] as DatabaseValue) ?? 0
            // A version that was taken out of the file ends its keys; that is the operator's right.
            guard let ours = fingerprint(version: version) else { continue }
            guard Data.fromDatabaseValue(row["fingerprint"] as DatabaseValue) == Data(ours) else {
                throw KeyStoreError.pepper(
                    path: files.pepper,
                    problem: "is not the pepper that the keys were made with (version \(version)); "
                        + "restore it from your backup of it"
                )
            }
        }
    }
}
