public import Glibc

/// Files that only their owner can read.
public enum PrivateFile {
    /// Writes a new file and waits until it is on the disk; a file that exists is never touched.
    ///
    /// - Parameters:
    ///   - bytes: The contents.
    ///   - path: Where to; nothing may be there, not even a link.
    ///   - mode: Permissions, exactly (the umask has no say).
    /// - Throws: ``KeyStoreError/system(path:action:cause:)``; then no file is left behind.
    public static func write(
        _ bytes: [UInt8],
        to path: String,
        mode: mode_t = 0o600
    ) throws(KeyStoreError) {
        let descriptor = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw StateFiles.failure("make", path) }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let error = StateFiles.failure("write", path)
                unlink(path)
                throw error
            }
            rest = rest.dropFirst(count)
        }
        guard fchmod(descriptor, mode) == 0, fsync(descriptor) == 0 else {
            let error = StateFiles.failure("write", path)
            unlink(path)
            throw error
        }
    }
}
