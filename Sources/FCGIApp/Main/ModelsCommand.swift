internal import ArgumentParser
internal import Checkpoints
internal import Foundation
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
            let environment = ProcessInfo.processInfo.environment
            let cache = "\(environment["HOME"] ?? "")/.cache/huggingface"
            let home = settings.models.huggingFaceHome
            let entries = ModelCatalog.scan(
                directories: settings.models.directories,
                huggingFaceHome: home.isEmpty ? environment["HF_HOME"] ?? cache : home
            )
            for entry in entries { print("\(entry.id)\t\(entry.ownedBy)\t\(entry.path)") }
        }
    }
}
