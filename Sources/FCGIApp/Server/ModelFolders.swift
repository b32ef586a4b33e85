public import Checkpoints
internal import Foundation
public import Settings

/// The models that the settings lead to.
public enum ModelFolders {
    /// What the settings name by its path, and what is found in the folders and the cache.
    public static func entries(_ settings: Settings) -> [CatalogEntry] {
        ModelCatalog.scan(
            named: settings.models.settings.compactMapValues(\.path),
            directories: settings.models.directories,
            huggingFaceHome: huggingFaceHome(settings)
        )
    }

    /// Paths of models that are not served for their names.
    public static func unnamed(_ settings: Settings) -> [String] {
        ModelCatalog.unnamed(
            named: settings.models.settings.compactMapValues(\.path),
            directories: settings.models.directories
        )
    }

    /// Where the Hugging Face cache is.
    static func huggingFaceHome(_ settings: Settings) -> String {
        let home = settings.models.huggingFaceHome
        guard home.isEmpty else { return home }
        let environment = ProcessInfo.processInfo.environment
        return environment["HF_HOME"] ?? "\(environment["HOME"] ?? "")/.cache/huggingface"
    }
}
