/// What one check found.
public struct Finding: Sendable, Equatable {
    /// How a check ended.
    public enum Result: String, Sendable, CaseIterable {
        /// As it should be.
        case ok
        /// The server works, but not as well or as safely as it could.
        case warning
        /// The server does not start, or does not serve.
        case failure
        /// Could not be looked at from here, or does not apply.
        case skipped
    }

    /// The thing that was looked at, the same on every machine: `nginx configuration`.
    public let name: String
    /// How the check ended.
    public let result: Result
    /// What was found; never a key or the pepper.
    public let found: String
    /// What to do about it; nil where nothing has to be done.
    public let mend: String?

    /// States what was found, with its mend.
    public init(_ name: String, _ result: Result, _ found: String, mend: String? = nil) {
        self.name = name
        self.result = result
        self.found = found
        self.mend = mend
    }

    static func ok(_ name: String, _ found: String) -> Finding { Finding(name, .ok, found) }

    static func skipped(_ name: String, _ found: String) -> Finding {
        Finding(name, .skipped, found)
    }

    static func warning(_ name: String, _ found: String, mend: String) -> Finding {
        Finding(name, .warning, found, mend: mend)
    }

    static func failure(_ name: String, _ found: String, mend: String) -> Finding {
        Finding(name, .failure, found, mend: mend)
    }
}
