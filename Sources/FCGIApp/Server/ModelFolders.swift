public import Checkpoints
internal import Foundation
public import Settings

/// The models that the settings lead to.
public enum ModelFolders {
    /// What the settings name by its path, and what is found in the folders and the cache.
    public static func entries(_ settings: Settings) -> [CatalogEntry] {
        let environment = ProcessInfo.processInfo.environment
        let home = settings.models.huggingFaceHome
        let cache = environment["HF_HOME"] ?? "\(environment["HOME"] ?? "")/.cache/huggingface"
        return ModelCatalog.scan(
            named: settings.models.settings.compactMapValues(\.path),
            directories: settings.models.directories,
            huggingFaceHome: home.isEmpty ? cache : home
        )
    }
}
