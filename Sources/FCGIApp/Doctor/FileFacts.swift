internal import Glibc

/// What `stat` tells of a path.
struct FileFacts {
    let kind: mode_t
    let mode: mode_t
    let owner: uid_t
    let size: Int
    let changed: Int

    /// nil where there is nothing, or it cannot be looked at; `errno` says which.
    init?(_ path: String, followsLinks: Bool = true) {
        var status = stat()
        let result = followsLinks ? stat(path, &status) : lstat(path, &status)
        guard result == 0 else { return nil }
        kind = status.st_mode & S_IFMT
        mode = status.st_mode & 0o7777
        owner = status.st_uid
        size = Int(status.st_size)
        changed = status.st_mtim.tv_sec
    }

    var isFolder: Bool { kind == S_IFDIR }
    var isFile: Bool { kind == S_IFREG }
    var isSocket: Bool { kind == S_IFSOCK }

    /// `0700`.
    var modeText: String {
        let digits = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }

    /// The owner's name, or its number.
    var ownerName: String {
        getpwuid(owner).map { String(cString: $0.pointee.pw_name) } ?? "user \(owner)"
    }

    /// The folder that a path lies in.
    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// The path, or the nearest folder above it that is there.
    static func nearest(_ path: String) -> String {
        var path = path
        while path.count > 1, FileFacts(path) == nil { path = parent(of: path) }
        return path
    }

    /// Whether this process could make files in a folder.
    static func isWritable(_ folder: String) -> Bool { access(folder, W_OK | X_OK) == 0 }
}

/// The text of the last failed system call.
func systemMessage() -> String { String(cString: strerror(errno)) }

/// Bytes as people say them.
func readable(bytes: Int) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
        value /= 1024
        unit += 1
    }
    let tenths = (value * 10).rounded() / 10
    return unit == 0 ? "\(bytes) B" : "\(tenths) \(units[unit])"
}
