import ArgumentParser
import Foundation
import JSON
import KeyStore

struct KeysRevoke: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "End a key for good, and its running requests."
    )

    @OptionGroup var state: StateOptions

    @Argument(help: "The key's id.")
    var id: String

    @Option(help: "Why; kept with the key and in the audit log.")
    var reason = ""

    @Flag(help: "Print the key's record as a JSON object.")
    var json = false

    func validate() throws { try validateID(id) }

    func run() throws {
        let keys = try KeyAdministration.open(state.files, create: false)
        let (record, changed) = try keys.revoke(id: id, reason: reason)
        if json {
            try Output.write(RecordText.json(record, now: Date()).text() + "\n")
        } else if changed {
            try Output.write("revoked \(id) (\(record.name))\n")
        } else {
            let when = record.revokedAt.map(RecordText.time) ?? "before"
            try Output.write("\(id) (\(record.name)) was revoked already: \(when)\n")
        }
    }
}
