/// What this build is, in the front and in the engine.
public enum Build {
    /// Version of all programs; part of `system_fingerprint`.
    public static let version = "0.1.0"
}
