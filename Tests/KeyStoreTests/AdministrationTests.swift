import Foundation
import GRDB
import KeyStore
import Synchronization
import Testing

@Suite struct AdministrationTests {
    @Test func `every change writes its audit row`() throws {
        let state = try TemporaryState()
        let administration = try state.administration()
        let first = try administration.create(KeySettings(name: "a"))
        _ = try administration.create(KeySettings(name: "b"))
        #expect(try administration.revoke(id: first.record.id, reason: "lost").changed)
        #expect(try !administration.revoke(id: first.record.id, reason: "again").changed)
        let report = try administration.verifyAudit()
        #expect(report.rows == 3 && report.problem == nil && report.head.count == 64)
        #expect(try administration.record(id: first.record.id).revokedReason == "lost")
        #expect(throws: KeyStoreError.unknownKey("aaaaaaaaaaaa")) {
            try administration.revoke(id: "aaaaaaaaaaaa", reason: "")
        }
    }

    @Test func `a change is written with its audit row, and the server sees it`() throws {
        let state = try TemporaryState()
        let administration = try state.administration()
        let key = try administration.create(KeySettings(name: "a"))
        let server = try KeyStore.openForServer(state.files)
        let later = Date(timeIntervalSinceNow: 3600)
        let (record, changed) = try administration.change(id: key.record.id) {
            $0.name = "b"
            $0.owner = "somebody else"
            $0.scopes = [.infer, .admin]
            $0.models = ["tiny-*"]
            $0.rpm = 5
            $0.expires = later
        }
        #expect(changed && record.name == "b" && record.scopes == [.infer, .admin])
        #expect(record.models == ["tiny-*"] && record.rpm == 5)
        #expect(record.owner == key.record.owner, "sessions and counts do not change hands")
        #expect(try administration.verifyAudit().rows == 2)
        let end = Date(timeIntervalSinceNow: 2)
        while server.record(id: record.id)?.rpm != 5, Date() < end { usleep(5000) }
        #expect(server.record(id: record.id) == record)
        guard case .accepted = server.authenticate(key.key) else {
            Issue.record("the key itself changed")
            return
        }
        #expect(try !administration.change(id: record.id) { $0.rpm = 5 }.changed)
        #expect(try administration.verifyAudit().rows == 2)
    }

    @Test func `an impossible change, and one of a revoked key, writes nothing`() throws {
        let state = try TemporaryState()
        let administration = try state.administration()
        let id = try administration.create(KeySettings(name: "a")).record.id
        #expect(throws: KeyStoreError.self) {
            try administration.change(id: id) { $0.scopes = [] }
        }
        _ = try administration.revoke(id: id, reason: "")
        #expect(throws: KeyStoreError.self) { try administration.change(id: id) { $0.rpm = 1 } }
        #expect(throws: KeyStoreError.unknownKey("aaaaaaaaaaaa")) {
            try administration.change(id: "aaaaaaaaaaaa") { $0.rpm = 1 }
        }
        #expect(try administration.verifyAudit().rows == 2)
        #expect(try administration.record(id: id).rpm == nil)
    }

    @Test(arguments: [
        "UPDATE audit SET detail = 'x' WHERE seq = 2",
        "UPDATE audit SET at = at + 1 WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
        "UPDATE keys SET revoked_at = NULL",
    ]) func `tampering shows in the audit chain`(_ sql: String) throws {
        let state = try TemporaryState()
        let administration = try state.administration()
        let first = try administration.create(KeySettings(name: "a"))
        _ = try administration.create(KeySettings(name: "b"))
        _ = try administration.revoke(id: first.record.id, reason: "lost")
        let queue = try DatabaseQueue(path: state.files.database)
        if !sql.contains("keys") {
            #expect(throws: DatabaseError.self) { try queue.write { try $0.execute(sql: sql) } }
        }
        try queue.write { db in
            try db.execute(sql: "DROP TRIGGER audit_keeps_rows; DROP TRIGGER audit_keeps_contents")
            try db.execute(sql: sql)
        }
        #expect(try administration.verifyAudit().problem != nil)
    }

    @Test func `keys cannot be deleted`() throws {
        let state = try TemporaryState()
        _ = try state.key()
        let queue = try DatabaseQueue(path: state.files.database)
        #expect(throws: DatabaseError.self) {
            try queue.write { try $0.execute(sql: "DELETE FROM keys") }
        }
    }

    @Test func `eight writers at once lose nothing and never see a busy database`() throws {
        let state = try TemporaryState()
        let failures = Mutex<[String]>([])
        let created = Mutex<[CreatedKey]>([])
        let group = DispatchGroup()
        for writer in 0..<8 {
            group.enter()
            Thread.detachNewThread {
                do {
                    // Each opens for itself, at once, on a store that does not exist yet.
                    let administration = try state.administration()
                    for index in 0..<50 {
                        let key = try administration.create(KeySettings(name: "\(writer)-\(index)"))
                        created.withLock { $0.append(key) }
                    }
                } catch {
                    failures.withLock { $0.append("\(error)") }
                }
                group.leave()
            }
        }
        group.wait()
        #expect(failures.withLock { $0 } == [])
        let administration = try state.administration()
        #expect(try administration.list().count == 400)
        #expect(try administration.verifyAudit().problem == nil)
        let server = try state.server()
        #expect(
            created.withLock { $0 }.allSatisfy { server.authenticate($0.key).record == $0.record }
        )
    }

    @Test func `settings out of range are refused before anything is written`() throws {
        let state = try TemporaryState()
        let administration = try state.administration()
        var cases: [KeySettings] = []
        func add(_ change: (inout KeySettings) -> Void) {
            var settings = KeySettings(name: "n")
            change(&settings)
            cases.append(settings)
        }
        add { $0.name = "" }
        add { $0.name = "a\nb" }
        add { $0.name = "a\u{202E}b" }
        add { $0.name = String(repeating: "n", count: 201) }
        add { $0.owner = "" }
        add { $0.scopes = [] }
        add { $0.models = ["a\0"] }
        add { $0.rpm = 0 }
        add { $0.tpm = -1 }
        add { $0.maxParallel = Int.max }
        add { $0.budgetPerDay = 0 }
        add { $0.weight = 1001 }
        add { $0.expires = Date(timeIntervalSinceNow: -1) }
        add { $0.expires = .distantFuture.addingTimeInterval(1e15) }
        add { $0.expires = Date(timeIntervalSince1970: .nan) }
        for settings in cases {
            #expect(throws: KeyStoreError.self) { try administration.create(settings) }
        }
        #expect(try administration.list().isEmpty)
        #expect(try administration.verifyAudit().rows == 0)
    }
}
