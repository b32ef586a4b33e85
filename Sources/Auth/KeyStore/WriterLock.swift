import Glibc

/// The turn of one writer among several processes and threads.
///
/// SQLite has a lock of its own, but its waiters back off up to 100 ms and a change of journal mode
/// does not wait at all; writers that queue here never meet SQLITE_BUSY among themselves.
enum WriterLock {
    /// Runs a body while no other writer does; the lock ends with the process if that is killed.
    static func holding<T>(
        _ path: String,
        patience: Duration = .seconds(10),
        body: () throws(KeyStoreError) -> T
    ) throws(KeyStoreError) -> T {
        let descriptor = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw StateFiles.failure("open", path) }
        defer { close(descriptor) }
        let deadline = ContinuousClock.now + patience
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else {
                throw StateFiles.failure("lock", path)
            }
            guard ContinuousClock.now < deadline else { throw .busy(path: path) }
            usleep(2000)
        }
        return try body()
    }
}
