/// What can go wrong with the key store; every description names the mend and nothing secret.
public enum KeyStoreError: Error, Sendable, Equatable, CustomStringConvertible {
    /// There is no keys.db yet.
    case notInitialised(path: String)
    /// A file or folder is a link, has the wrong kind or can be reached by other users.
    case unsafeFile(path: String, problem: String, mend: String)
    /// The operating system refused.
    case system(path: String, action: String, cause: String)
    /// The pepper file is missing, malformed, or not the one that the keys were made with.
    case pepper(path: String, problem: String)
    /// keys.db belongs to another program, or to a newer version of this one.
    case foreignDatabase(path: String, problem: String)
    /// SQLite reported an error.
    case database(code: Int, message: String)
    /// Another process held the store for too long.
    case busy(path: String)
    /// A setting of a key is out of its range.
    case invalidSetting(String)
    /// There is no key with this id.
    case unknownKey(String)
    /// The kernel gave no random bytes.
    case noRandomness

    /// One sentence for the operator.
    public var description: String {
        switch self {
        case .notInitialised(let path):
            "there is no \(path) yet; make the first key with `torchgate keys create --name NAME`"
        case .unsafeFile(let path, let problem, let mend): "\(path) \(problem); mend: \(mend)"
        case .system(let path, let action, let cause): "cannot \(action) \(path): \(cause)"
        case .pepper(let path, let problem): "pepper file \(path): \(problem)"
        case .foreignDatabase(let path, let problem): "\(path) \(problem)"
        case .database(let code, let message): "keys.db: SQLite error \(code): \(message)"
        case .busy(let path): "another process has held \(path) for more than 10 s; try again"
        case .invalidSetting(let problem): problem
        case .unknownKey(let id): "no key has the id \(id)"
        case .noRandomness: "the kernel gave no random bytes"
        }
    }
}
