internal import ArgumentParser
internal import Settings

/// `torchgate settings`: every setting with its value, or its documentation.
struct SettingsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings",
        abstract: "Print every setting with the value that it has here."
    )

    @OptionGroup var options: SettingsOptions

    @Flag(help: "Print the table of docs/configuration.md instead.")
    var markdown = false

    func run() throws {
        if markdown {
            print(SettingsTable.markdown, terminator: "")
            return
        }
        let settings = try options.load()
        for field in SettingsTable.fields { print("\(field.key): \(field.text(in: settings))") }
    }
}
