// The processes that the tests need beside themselves: the `keys` commands, a writer that goes on
// until it is killed, and a reader that stands for the server.

import AdminCLI
import ArgumentParser
import Foundation
import Glibc
import KeyStore

@main struct KeysTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys-tool",
        subcommands: [Keys.self, CreateForEver.self, Watch.self]
    )
}

/// Prints each key after its creation has returned: what is printed was acknowledged.
struct CreateForEver: ParsableCommand {
    @Argument var state: String

    func run() throws {
        let keys = try KeyAdministration.open(StateFiles(state: state), create: true)
        while true {
            let created = try keys.create(KeySettings(name: "loop"))
            say(created.key)
            _ = try keys.revoke(id: created.record.id, reason: "loop")
            say("revoked \(created.record.id)")
        }
    }
}

/// Answers each line of standard input, a key, with `accepted` or `refused`; prints changes.
struct Watch: ParsableCommand {
    @Argument var state: String

    func run() throws {
        let store = try KeyStore.openForServer(StateFiles(state: state))
        store.onChange { ids in say("changed \(ids.sorted().joined(separator: " "))") }
        say("ready")
        while let key = readLine() {
            say(store.authenticate(key) == .refused ? "refused" : "accepted")
        }
    }
}

/// One line in one write.
private func say(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
}
