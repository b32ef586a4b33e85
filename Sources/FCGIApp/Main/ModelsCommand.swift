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
            for entry in ModelsCommand.entries(settings) {
                print("\(entry.id)\t\(entry.ownedBy)\t\(entry.path)")
            }
        }
    }

    /// What is found in the folders and the cache, and what the settings name by its path.
    static func entries(_ settings: Settings) -> [CatalogEntry] {
        let environment = ProcessInfo.processInfo.environment
        let cache = "\(environment["HOME"] ?? "")/.cache/huggingface"
        let home = settings.models.huggingFaceHome
        var entries = ModelCatalog.scan(
            directories: settings.models.directories,
            huggingFaceHome: home.isEmpty ? environment["HF_HOME"] ?? cache : home
        )
        for (id, model) in settings.models.settings.sorted(by: { $0.key < $1.key }) {
            guard let path = model.path, !entries.contains(where: { $0.id == id }) else { continue }
            entries.append(
                CatalogEntry(
                    id: id,
                    path: path,
                    created: Date(timeIntervalSince1970: 0),
                    ownedBy: "user",
                    hasWeights: true
                )
            )
        }
        return entries
    }
}
