internal import Glibc

/// What the kernel tells of another process.
enum ProcessMemory {
    /// Resident bytes; nil where the process is gone or hidden from us.
    static func residentBytes(of pid: Int32) -> Int? {
        let file = open("/proc/\(pid)/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 128)
        let count = read(file, &bytes, bytes.count)
        let words = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
            .split(separator: " ")
        // A process that has ended but was not waited for has none.
        guard words.count > 1, let pages = Int(words[1]), pages > 0 else { return nil }
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }
}
