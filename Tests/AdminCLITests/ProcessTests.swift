import Foundation
import Glibc
import JSON
import KeyStore
import Testing

@Suite(.serialized) struct ProcessTests {
    @Test func `a revocation by another process holds within 100 ms`() throws {
        let state = try TemporaryState()
        let key = try create(state)
        let store = try KeyStore.openForServer(StateFiles(state: state.path))
        #expect(store.authenticate(key) != .refused)
        let id = try #require(KeyFormat.id(of: key))
        #expect(try ToolProcess.keys(["revoke", id, "--reason", "leaked"], in: state).status == 0)
        usleep(100_000)
        #expect(store.authenticate(key) == .refused)
    }

    // The server under a read-only mount, as far as permissions can stand for one: it owns the
    // files but can write neither them nor their folder. Root may do anything, so the reader is not
    // root.
    @Test(.enabled(if: geteuid() == 0, "needs root to write what the reader cannot"))
    func `a server without write rights follows the CLI`() throws {
        let state = try TemporaryState()
        let first = try create(state)
        let nobody = 65534
        let files = StateFiles(state: state.path)
        let paths =
            [state.path, files.folder, files.pepper]
            + ["", "-wal", "-shm"].map { files.database + $0 }
        for path in paths {
            #expect(chown(path, uid_t(nobody), gid_t(nobody)) == 0)
            #expect(chmod(path, path == state.path || path == files.folder ? 0o500 : 0o400) == 0)
        }
        let asNobody = ["setpriv", "--reuid=\(nobody)", "--regid=\(nobody)", "--clear-groups"]
        let server = try ToolProcess(["watch", state.path], prefix: asNobody)
        #expect(server.line() == "ready")
        #expect(try ask(server, first) == "accepted")
        for _ in 0..<5 {
            let key = try create(state)
            #expect(server.line()?.hasPrefix("changed ") == true)
            #expect(try ask(server, key) == "accepted")
            let id = try #require(KeyFormat.id(of: key))
            #expect(try ToolProcess.keys(["revoke", id], in: state).status == 0)
            #expect(server.line() == "changed \(id)")
            #expect(try ask(server, key) == "refused")
        }
        // A second server starts while the first runs, and after every writer has gone.
        let second = try ToolProcess(["watch", state.path], prefix: asNobody)
        #expect(second.line() == "ready")
        #expect(try ask(second, first) == "accepted")
        for path in paths.dropFirst(3) { #expect(access(path, F_OK) == 0) }
    }

    @Test func `killing the writer loses nothing that was acknowledged`() throws {
        let state = try TemporaryState()
        _ = try create(state)
        let store = try KeyStore.openForServer(StateFiles(state: state.path))
        var keys: [String] = []
        var revoked: Set<String> = []
        for round in 0..<60 {
            let writer = try ToolProcess(["create-for-ever", state.path])
            var lines: [String] = []
            if let line = writer.line() { lines.append(line) }
            usleep(UInt32(round % 20) * 500)
            kill(writer.process.processIdentifier, SIGKILL)
            while let line = writer.line() { lines.append(line) }
            writer.process.waitUntilExit()
            for line in lines where line.hasPrefix("revoked ") {
                revoked.insert(String(line.dropFirst(8)))
            }
            keys += lines.filter { $0.hasPrefix("sk-tg-") }
            #expect(store.failure == nil)
        }
        #expect(keys.count >= 60)
        usleep(100_000)
        let administration = try KeyAdministration.open(
            StateFiles(state: state.path),
            create: false
        )
        let records = Dictionary(
            uniqueKeysWithValues: try administration.list().map { ($0.id, $0) }
        )
        for key in keys {
            let id = try #require(KeyFormat.id(of: key))
            let record = try #require(records[id])
            if revoked.contains(id) { #expect(record.revokedAt != nil) }
            #expect((store.authenticate(key) != .refused) == (record.revokedAt == nil))
        }
        #expect(try administration.verifyAudit().problem == nil)
    }

    @Test func `many commands at once never see a busy database`() throws {
        let state = try TemporaryState()
        let running = try (0..<24).map { index in
            try ToolProcess(["keys", "create", "--name", "n\(index)", "--state-dir", state.path])
        }
        for process in running {
            let result = try process.finish()
            #expect(result.status == 0, "\(result.errors)")
        }
        let administration = try KeyAdministration.open(
            StateFiles(state: state.path),
            create: false
        )
        #expect(try administration.list().count == 24)
    }

    private func create(_ state: TemporaryState) throws -> String {
        let result = try ToolProcess.keys(["create", "--name", "n"], in: state)
        return result.output.trimmingCharacters(in: .newlines)
    }

    private func ask(_ server: ToolProcess, _ key: String) throws -> String? {
        usleep(100_000)
        try server.send(key)
        return server.line()
    }
}
