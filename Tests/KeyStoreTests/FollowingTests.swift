import Foundation
import GRDB
import Glibc
import KeyStore
import Synchronization
import Testing

@Suite(.serialized) struct FollowingTests {
    @Test func `a revocation holds within 100 ms and is announced`() throws {
        let state = try TemporaryState()
        let administration = try state.administration()
        let created = try (0..<10).map { try administration.create(KeySettings(name: "k\($0)")) }
        let server = try state.server()
        let announced = Mutex<Set<String>>([])
        server.onChange { ids in announced.withLock { $0.formUnion(ids) } }
        for key in created {
            #expect(server.authenticate(key.key).record != nil)
            _ = try administration.revoke(id: key.record.id, reason: "leaked")
            usleep(100_000)
            #expect(server.authenticate(key.key) == .refused)
            #expect(server.record(id: key.record.id) == nil)
            #expect(announced.withLock { $0.contains(key.record.id) })
        }
        #expect(announced.withLock { $0 } == Set(created.map(\.record.id)))
    }

    @Test func `a key made while the server runs is accepted within 100 ms`() throws {
        let state = try TemporaryState()
        _ = try state.key()
        let server = try state.server()
        let created = try state.key("later")
        usleep(100_000)
        #expect(server.authenticate(created.key).record == created.record)
    }

    @Test func `a change without the CLI is seen too`() throws {
        let state = try TemporaryState()
        let created = try state.key()
        let server = try state.server()
        try edit(state, "UPDATE keys SET revoked_at = 1 WHERE id = '\(created.record.id)'")
        #expect(eventually(.milliseconds(500)) { server.authenticate(created.key) == .refused })
    }

    @Test func `a restored backup takes effect while the server runs`() throws {
        let state = try TemporaryState()
        let old = try state.key("old")
        let backup = state.path + "/backup.db"
        try edit(state, "VACUUM INTO '\(backup)'")
        chmod(backup, 0o600)
        let new = try state.key("new")
        let server = try state.server()
        #expect(server.authenticate(new.key).record != nil)
        unlink(state.files.database + "-wal")
        unlink(state.files.database + "-shm")
        #expect(rename(backup, state.files.database) == 0)
        #expect(eventually { server.authenticate(new.key) == .refused && server.failure == nil })
        #expect(server.authenticate(old.key).record == old.record)
    }

    @Test func `a server may start with a database that others can read, and refuses every key`()
        throws
    {
        let state = try TemporaryState()
        let created = try state.key()
        chmod(state.files.database, 0o644)
        #expect(throws: KeyStoreError.self) { try state.server() }
        let server = try KeyStore.openForServer(state.files, toleratesFailure: true)
        #expect(server.failure?.description.contains("chmod go=") == true)
        #expect(server.authenticate(created.key) == .refused)
        chmod(state.files.database, 0o600)
        #expect(eventually { server.authenticate(created.key).record == created.record })
        #expect(server.failure == nil)
    }

    @Test func `a missing database refuses every key until it is back`() throws {
        let state = try TemporaryState()
        let created = try state.key()
        let server = try state.server()
        #expect(rename(state.files.folder, state.path + "/away") == 0)
        usleep(100_000)
        #expect(server.authenticate(created.key) == .refused)
        #expect(server.record(id: created.record.id) == nil)
        #expect(server.failure != nil)
        #expect(rename(state.path + "/away", state.files.folder) == 0)
        #expect(eventually { server.authenticate(created.key).record != nil })
        #expect(server.failure == nil)
    }

    @Test func `a damaged database refuses every key until it is restored`() throws {
        let state = try TemporaryState()
        let created = try state.key()
        let server = try state.server()
        let path = state.files.database
        let good = state.path + "/good.db"
        try edit(state, "VACUUM INTO '\(good)'")
        chmod(good, 0o600)
        var bytes = Array(try Data(contentsOf: URL(fileURLWithPath: good)))
        for index in bytes.indices.dropFirst(100) { bytes[index] = 0x5A }
        try PrivateFile.write(bytes, to: state.path + "/bad.db")
        for suffix in ["-wal", "-shm"] { unlink(path + suffix) }
        #expect(rename(state.path + "/bad.db", path) == 0)
        #expect(eventually { server.failure != nil })
        #expect(server.authenticate(created.key) == .refused)
        #expect(server.record(id: created.record.id) == nil)
        #expect(throws: KeyStoreError.self) { try state.server() }
        #expect(rename(good, path) == 0)
        #expect(eventually { server.authenticate(created.key).record == created.record })
    }

    @Test func `flipped bytes never let a foreign key in and never end the process`() throws {
        let original = try TemporaryState()
        let administration = try original.administration()
        let keys = try (0..<20).map { try administration.create(KeySettings(name: "k\($0)")) }
        let copy = original.path + "/copy.db"
        try edit(original, "VACUUM INTO '\(copy)'")
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: copy)))
        let pepper = Array(try Data(contentsOf: URL(fileURLWithPath: original.files.pepper)))
        let foreign = try TemporaryState().key().key
        var generator = SystemRandomNumberGenerator()
        var refusals = 0
        for _ in 0..<60 {
            let state = try TemporaryState()
            mkdir(state.files.folder, 0o700)
            var damaged = bytes
            for _ in 0..<8 {
                damaged[Int.random(in: 0..<damaged.count, using: &generator)] ^= 0x41
            }
            try PrivateFile.write(damaged, to: state.files.database)
            try PrivateFile.write(pepper, to: state.files.pepper, mode: 0o400)
            guard let server = try? state.server() else {
                refusals += 1
                continue
            }
            #expect(server.authenticate(foreign) == .refused)
            for key in keys { _ = server.authenticate(key.key) }
        }
        #expect(refusals > 0)
    }

    @Test func `a damaged row refuses its key alone`() throws {
        let state = try TemporaryState()
        let bad = try state.key("bad")
        let good = try state.key("good")
        try edit(state, "UPDATE keys SET scopes = 'root,infer' WHERE id = '\(bad.record.id)'")
        let server = try state.server()
        #expect(server.authenticate(bad.key) == .refused)
        #expect(server.authenticate(good.key).record == good.record)
    }

    @Test func `unknown and known ids cost about the same`() throws {
        let state = try TemporaryState()
        let created = try state.key()
        let unknown = try TemporaryState().key().key
        _ = try state.administration().revoke(id: created.record.id, reason: "")
        let server = try state.server()
        func time(_ key: String) -> Duration {
            ContinuousClock().measure { _ = server.authenticate(key) }
        }
        _ = (0..<2000).map { _ in time(unknown) }
        // In turns, so that other processes disturb both alike.
        let pairs = (0..<2001).map { _ in (time(unknown), time(created.key)) }
        let ratio = pairs.map(\.0).sorted()[1000] / pairs.map(\.1).sorted()[1000]
        #expect(ratio > 0.5 && ratio < 2)
    }

    private func edit(_ state: TemporaryState, _ sql: String) throws {
        let queue = try DatabaseQueue(path: state.files.database)
        try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
    }
}
