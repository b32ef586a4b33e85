import ArgumentParser
import Foundation
import JSON
import KeyStore

struct KeysList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the keys, oldest first; the keys themselves are not stored."
    )

    @OptionGroup var state: StateOptions

    @Flag(help: "Print a JSON array.")
    var json = false

    func run() throws {
        let records = try KeyAdministration.open(state.files, create: false).list()
        let now = Date()
        if json {
            let array = JSONValue.array(records.map { RecordText.json($0, now: now) })
            try Output.write(array.text() + "\n")
        } else {
            try Output.write(RecordText.table(records, now: now))
        }
    }
}

struct KeysShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show one key's settings and state."
    )

    @OptionGroup var state: StateOptions

    @Argument(help: "The key's id.")
    var id: String

    @Flag(help: "Print a JSON object.")
    var json = false

    func validate() throws { try validateID(id) }

    func run() throws {
        let record = try KeyAdministration.open(state.files, create: false).record(id: id)
        let now = Date()
        let text = json ? RecordText.json(record, now: now).text() + "\n" : nil
        try Output.write(text ?? RecordText.page(record, now: now))
    }
}
