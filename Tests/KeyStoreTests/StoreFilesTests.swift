import Foundation
import GRDB
import Glibc
import KeyStore
import Testing

@Suite struct StoreFilesTests {
    @Test func `files are for their owner alone, whatever the umask`() throws {
        let state = try TemporaryState()
        _ = try state.key()
        _ = try state.server()
        #expect(state.mode("keys") == 0o700)
        #expect(state.mode("pepper") == 0o400)
        for file in ["keys.db", "keys.db-wal", "keys.db-shm", "lock"] {
            #expect(state.mode("keys/\(file)") == 0o600)
        }
    }

    @Test(arguments: ["keys", "keys/keys.db", "keys/keys.db-wal", "keys/keys.db-shm", "pepper"])
    func `a file that others can read is refused with its mend`(_ name: String) throws {
        let state = try TemporaryState()
        _ = try state.key()
        chmod(state.path + "/" + name, state.mode(name) | 0o044)
        let error = #expect(throws: KeyStoreError.self) { try state.server() }
        #expect(error?.description.contains("chmod go= \(state.path)/\(name)") == true)
    }

    @Test(arguments: ["keys", "keys/keys.db", "pepper"])
    func `a symbolic link is refused`(_ name: String) throws {
        let state = try TemporaryState()
        _ = try state.key()
        let path = state.path + "/" + name
        #expect(rename(path, path + ".real") == 0)
        #expect(symlink(path + ".real", path) == 0)
        let error = #expect(throws: KeyStoreError.self) { try state.server() }
        #expect(error?.description.contains("symbolic link") == true)
    }

    @Test func `without a store the server says how to make one`() throws {
        let state = try TemporaryState()
        let error = #expect(throws: KeyStoreError.self) { try state.server() }
        #expect(error?.description.contains("keys create") == true)
        #expect(throws: KeyStoreError.self) {
            try KeyAdministration.open(state.files, create: false)
        }
        #expect(state.mode("keys") == 0)
    }

    @Test func `a lost or foreign pepper stops the server and the making of keys`() throws {
        let state = try TemporaryState()
        let other = try TemporaryState()
        _ = try state.key()
        _ = try other.key()
        #expect(rename(state.files.pepper, state.files.pepper + ".old") == 0)
        #expect(throws: KeyStoreError.self) { try state.server() }
        #expect(throws: KeyStoreError.self) { try state.key("second") }
        #expect(state.mode("pepper") == 0)
        try FileManager.default.copyItem(atPath: other.files.pepper, toPath: state.files.pepper)
        chmod(state.files.pepper, 0o400)
        #expect(throws: KeyStoreError.self) { try state.server() }
        #expect(throws: KeyStoreError.self) { try state.key("third") }
        // Revoking needs no pepper.
        let administration = try state.administration()
        let id = try #require(administration.list().first?.id)
        #expect(try administration.revoke(id: id, reason: "").changed)
    }

    @Test func `a second pepper version makes new keys and keeps the old ones`() throws {
        let state = try TemporaryState()
        let old = try state.key("old")
        let text = try String(contentsOfFile: state.files.pepper, encoding: .utf8)
        try FileManager.default.removeItem(atPath: state.files.pepper)
        let both = text + "v2:" + String(repeating: "ab", count: 32) + "\n"
        try PrivateFile.write(Array(both.utf8), to: state.files.pepper, mode: 0o400)
        let new = try state.key("new")
        let server = try state.server()
        #expect(server.authenticate(old.key).record == old.record)
        #expect(server.authenticate(new.key).record == new.record)
    }

    @Test func `another program's database and a newer version are refused`() throws {
        let foreign = try TemporaryState()
        _ = try foreign.key()
        try edit(foreign, "PRAGMA application_id=7")
        #expect(throws: KeyStoreError.self) { try foreign.server() }
        #expect(throws: KeyStoreError.self) { try foreign.administration() }
        let newer = try TemporaryState()
        _ = try newer.key()
        try edit(newer, "PRAGMA user_version=999")
        #expect(throws: KeyStoreError.self) { try newer.server() }
        #expect(throws: KeyStoreError.self) { try newer.administration() }
    }

    @Test func `a private file never replaces one that exists`() throws {
        let state = try TemporaryState()
        let path = state.path + "/out"
        try PrivateFile.write([1], to: path)
        #expect(throws: KeyStoreError.self) { try PrivateFile.write([2], to: path) }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data([1]))
        #expect(state.mode("out") == 0o600)
    }

    private func edit(_ state: TemporaryState, _ sql: String) throws {
        let queue = try DatabaseQueue(path: state.files.database)
        try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
    }
}
