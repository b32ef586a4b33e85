internal import EngineLink

/// What this build is.
public enum Build {
    /// Version of front and engine; part of `system_fingerprint`.
    public static let version = "0.1.0"

    /// `system_fingerprint` of what this model answers: its files, its numbers, this build.
    static func fingerprint(of model: LoadedModel) -> String {
        "fp_\(model.revision)_\(model.numbers)_\(version)"
    }
}
