internal import Glibc

/// A file's bytes: mapped read-only, where the pages are the page cache's and not ours, or copied.
///
/// Whoever maps a file dies by SIGBUS when somebody cuts it short meanwhile: right for an engine, which
/// holds gigabytes; wrong for the server, which copies.
final class MappedFile: @unchecked Sendable {
    // Sendable: immutable after init; the mapping is read-only.

    /// The name without folders.
    let name: String
    /// All bytes; of a copy, as many as were asked for.
    let bytes: UnsafeRawBufferPointer
    /// Bytes of the whole file.
    let size: Int
    /// Device, inode, size and time of change: another file has another identity.
    let identity: String

    /// `copying`: at most so many bytes from the start are copied; nil maps all.
    init(_ path: String, copying limit: Int? = nil) throws(CheckpointError) {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        self.name = name
        let fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard fd >= 0 else { throw CheckpointError(.missing, file: name, "cannot be opened") }
        defer { close(fd) }
        var info = stat()
        guard fstat(fd, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
            throw CheckpointError(.missing, file: name, "is no regular file")
        }
        identity =
            "\(info.st_dev):\(info.st_ino):\(info.st_size):\(info.st_mtim.tv_sec).\(info.st_mtim.tv_nsec)"
        size = Int(info.st_size)
        let wanted = min(size, limit ?? .max)
        guard wanted > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        let access = limit == nil ? PROT_READ : PROT_READ | PROT_WRITE
        let flags = limit == nil ? MAP_PRIVATE : MAP_PRIVATE | MAP_ANONYMOUS
        guard let base = mmap(nil, wanted, access, flags, limit == nil ? fd : -1, 0),
            base != MAP_FAILED
        else {
            throw CheckpointError(.missing, file: name, "cannot be mapped")
        }
        bytes = UnsafeRawBufferPointer(start: base, count: wanted)
        guard limit != nil else { return }
        var filled = 0
        while filled < wanted {
            let count = pread(fd, base + filled, wanted - filled, off_t(filled))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw CheckpointError(.corrupt, file: name, "became shorter while it was read")
            }
            filled += count
        }
    }

    deinit {
        if let base = bytes.baseAddress {
            munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
        }
    }

    /// The bytes of a range; nil where it is not inside the file.
    func slice(at offset: Int, count: Int) -> UnsafeRawBufferPointer? {
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard offset >= 0, count >= 0, !overflow, end <= bytes.count else { return nil }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
    }
}
