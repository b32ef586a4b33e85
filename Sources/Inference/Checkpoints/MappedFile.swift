internal import Glibc

/// A file mapped read-only; the pages are the page cache's, not ours.
final class MappedFile: @unchecked Sendable {
    // Sendable: immutable after init; the mapping is read-only.

    /// The name without folders.
    let name: String
    /// All bytes.
    let bytes: UnsafeRawBufferPointer
    /// Device, inode, size and time of change: another file has another identity.
    let identity: String

    init(_ path: String) throws(CheckpointError) {
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
        let size = Int(info.st_size)
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, fd, 0), base != MAP_FAILED else {
            throw CheckpointError(.missing, file: name, "cannot be mapped")
        }
        bytes = UnsafeRawBufferPointer(start: base, count: size)
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
