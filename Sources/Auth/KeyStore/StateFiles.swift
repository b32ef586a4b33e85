// Where the store's files lie and who may read them. Everything secret is reachable by its owner
// alone: the folder 0700, files 0600 or stricter, no links.

import Glibc

/// The places of the key store's files under the state directory.
public struct StateFiles: Sendable, Hashable {
    /// The state directory.
    public let state: String
    /// The pepper file.
    public let pepper: String
    /// Whether the pepper file is a systemd credential, which root owns and a group bit may open.
    public let pepperIsCredential: Bool
    /// The folder of keys.db, of its own so that a server can be given it read-only.
    public var folder: String { state + "/keys" }
    /// The database of keys.
    public var database: String { folder + "/keys.db" }
    /// The file that writers lock in turn.
    var writerLock: String { folder + "/lock" }

    /// The usual places under a state directory.
    ///
    /// - Parameters:
    ///   - state: The state directory; links in its path are followed.
    ///   - pepper: The pepper file if it is not `pepper` in the state directory.
    ///   - pepperIsCredential: Whether `pepper` lies in systemd's credentials directory.
    public init(state: String, pepper: String? = nil, pepperIsCredential: Bool = false) {
        let trimmed = state.count > 1 && state.hasSuffix("/") ? String(state.dropLast()) : state
        self.state = trimmed
        self.pepper = pepper ?? trimmed + "/pepper"
        self.pepperIsCredential = pepperIsCredential
    }

    /// Refuses files that another user could have put there or can read.
    func check() throws(KeyStoreError) {
        // The state directory may be a link: systemd makes one with DynamicUser=.
        var status = stat()
        guard stat(state, &status) == 0 else { throw .notInitialised(path: database) }
        guard status.st_mode & 0o022 == 0 else {
            throw .unsafeFile(
                path: state,
                problem: "can be written by other users",
                mend: "chmod go-w \(state)"
            )
        }
        guard try Self.checkPrivate(folder, isFolder: true),
            try Self.checkPrivate(database, isFolder: false)
        else { throw .notInitialised(path: database) }
        for suffix in ["-wal", "-shm"] {
            _ = try Self.checkPrivate(database + suffix, isFolder: false)
        }
    }

    /// Makes the folder and an empty database where they are missing, then checks everything.
    func prepare() throws(KeyStoreError) {
        if mkdir(state, 0o700) != 0, errno != EEXIST {
            throw Self.failure("make", state)
        }
        if mkdir(folder, 0o700) == 0 {
            try adopt(folder)
        } else if errno != EEXIST {
            throw Self.failure("make", folder)
        }
        for file in [database, writerLock] {
            let descriptor = open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0o600)
            if descriptor >= 0 {
                close(descriptor)
                try adopt(file)
            } else if errno != EEXIST {
                throw Self.failure("make", file)
            }
        }
        try Self.syncFolder(folder)
        try Self.syncFolder(state)
        try check()
    }

    /// Gives what root has made to the state directory's owner, so that the server can read it.
    func adopt(_ path: String) throws(KeyStoreError) {
        var status = stat()
        guard geteuid() == 0, stat(state, &status) == 0, status.st_uid != 0 else { return }
        guard lchown(path, status.st_uid, status.st_gid) == 0 else {
            throw Self.failure("change the owner of", path)
        }
    }

    /// Whether the path exists; throws if it is a link, of the wrong kind, or open to other users.
    static func checkPrivate(
        _ path: String,
        isFolder: Bool,
        groupMayRead: Bool = false
    ) throws(KeyStoreError) -> Bool {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return false }
            throw failure("look at", path)
        }
        let kind = status.st_mode & S_IFMT
        guard kind == (isFolder ? S_IFDIR : S_IFREG) else {
            let problem = kind == S_IFLNK ? "is a symbolic link" : "is not what it should be"
            throw .unsafeFile(
                path: path,
                problem: problem,
                mend: "put a real \(isFolder ? "folder" : "file") in its place"
            )
        }
        let forbidden: mode_t = groupMayRead ? 0o037 : 0o077
        guard status.st_mode & forbidden == 0 else {
            throw .unsafeFile(
                path: path,
                problem: "is open to other users",
                mend: "chmod go= \(path)"
            )
        }
        let me = geteuid()
        guard me == 0 || status.st_uid == me || status.st_uid == 0 else {
            throw .unsafeFile(
                path: path,
                problem: "belongs to user \(status.st_uid), not to \(me)",
                mend: "run this as its owner, or chown it"
            )
        }
        return true
    }

    static func syncFolder(_ path: String) throws(KeyStoreError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("sync", path) }
    }

    static func failure(_ action: String, _ path: String) -> KeyStoreError {
        .system(path: path, action: action, cause: String(cString: strerror(errno)))
    }
}
