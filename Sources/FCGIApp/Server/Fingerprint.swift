internal import EngineLink

extension Build {
    /// `system_fingerprint` of what this model answers: its files, its numbers, this build.
    static func fingerprint(of model: LoadedModel) -> String {
        "fp_\(model.revision)_\(model.numbers)_\(version)"
    }
}
