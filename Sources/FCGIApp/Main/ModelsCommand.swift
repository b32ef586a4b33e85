internal import ArgumentParser
internal import Checkpoints
internal import Server
internal import Settings

/// `torchgate models list`.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "The models of this machine.",
        subcommands: [List.self]
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the models that can be served."
        )

        @OptionGroup var options: SettingsOptions

        func run() throws {
            let settings = try options.load()
            for entry in ModelFolders.entries(settings) {
                print("\(entry.id)\t\(entry.ownedBy)\t\(entry.path)")
            }
        }
    }
}
