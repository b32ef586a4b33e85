/// What this build is.
public enum Build {
    /// Version of front and engine; part of `system_fingerprint`.
    public static let version = "0.1.0"
}
