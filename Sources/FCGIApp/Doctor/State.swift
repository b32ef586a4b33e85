internal import Settings
internal import Glibc
internal import KeyStore

extension Doctor {
    /// The state directory, the pepper and the keys.
    func state() -> [Finding] { [stateDirectory(), pepper(), keyDatabase()] }

    package func stateDirectory() -> Finding {
        let name = "state directory"
        let path = keys.state
        let makes = "install -d -m 700 \(isProduction ? "-o torchgate -g torchgate " : "")\(path)"
        guard let facts = FileFacts(path) else {
            return .failure(name, "\(path): \(systemMessage())", mend: makes)
        }
        guard facts.isFolder else {
            return .failure(name, "\(path) is no folder", mend: "move it away, then \(makes)")
        }
        if facts.mode & 0o022 != 0 {
            return .failure(
                name,
                "\(path) has mode \(facts.modeText): other users can write to it",
                mend: "chmod 700 \(path)"
            )
        }
        if !isRoot, facts.owner != geteuid() {
            return .failure(
                name,
                "\(path) belongs to \(facts.ownerName)",
                mend: "run this as \(facts.ownerName), or set paths.state_dir"
            )
        }
        let serverUser = isProduction ? getpwnam("torchgate")?.pointee.pw_uid : nil
        if let serverUser, serverUser != facts.owner {
            return .warning(
                name,
                "\(path) belongs to \(facts.ownerName), not to torchgate",
                mend: "chown -R torchgate:torchgate \(path)"
            )
        }
        if facts.mode & 0o077 != 0 {
            return .warning(
                name,
                "\(path) has mode \(facts.modeText): other users can look into it",
                mend: "chmod 700 \(path)"
            )
        }
        return .ok(name, "\(path), mode \(facts.modeText), of \(facts.ownerName)")
    }

    package func pepper() -> Finding {
        let name = "pepper"
        let path = keys.pepper
        guard settings.authEnabled else { return .skipped(name, "auth.enabled is false") }
        guard let facts = FileFacts(path, followsLinks: false) else {
            guard errno == ENOENT else {
                return .failure(
                    name,
                    "\(path): \(systemMessage())",
                    mend: "run this as the server's user, or as root"
                )
            }
            let mend =
                FileFacts(keys.database) == nil
                ? Self.firstKey : "restore it from your backup; without it no key is accepted"
            return .failure(name, "\(path) is not there", mend: mend)
        }
        let forbidden: mode_t = keys.pepperIsCredential ? 0o037 : 0o077
        guard facts.isFile else {
            return .failure(
                name,
                "\(path) is not a plain file",
                mend: "put the real file in its place"
            )
        }
        guard facts.mode & forbidden == 0 else {
            return .failure(
                name,
                "\(path) has mode \(facts.modeText): other users can read it",
                mend: "chmod 400 \(path)"
            )
        }
        return .ok(name, "\(path), mode \(facts.modeText)")
    }

    /// Opens the store as the server does, so that both refuse the same things.
    package func keyDatabase() -> Finding {
        let name = "keys"
        guard settings.authEnabled else { return .skipped(name, "auth.enabled is false") }
        do throws(KeyStoreError) {
            let count = try KeyStore.openForServer(keys).liveKeyCount()
            let log = FileFacts(keys.database + "-wal") == nil ? "" : ", with its log"
            guard count > 0 else {
                return .warning(
                    name,
                    "\(keys.database) opens\(log), but no key is live",
                    mend: Self.firstKey
                )
            }
            return .ok(name, "\(keys.database) opens\(log); live keys: \(count)")
        } catch {
            switch error {
            case .notInitialised(let path):
                return .failure(name, "there is no usable \(path)", mend: Self.firstKey)
            case .unsafeFile(let path, let problem, let mend):
                return .failure(name, "\(path) \(problem)", mend: mend)
            case .system:
                let mend = "run this as the server's user, or as root"
                return .failure(name, "\(error)", mend: mend)
            default:
                let mend = "restore \(keys.folder) and the pepper from one backup"
                return .failure(name, "\(error)", mend: mend)
            }
        }
    }

    private static let firstKey = "torchgate keys create --name NAME, as the server's user"
}
